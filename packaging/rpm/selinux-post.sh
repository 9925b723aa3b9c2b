# After the policy is there, new or updated: it is loaded, and what is labelled anew is ours alone.
# It is compiled on this host, against this host's policy.
# shellcheck source=/dev/null
[ ! -e /etc/selinux/config ] || . /etc/selinux/config
[ "${SELINUXTYPE-}" = targeted ] || exit 0
if ! semodule -n -s targeted -X 200 -i /usr/share/selinux/packages/pam_idtoken.cil; then
    echo "pam-idtoken-selinux: the policy module does not load, so sshd can not write tokens where" >&2
    echo "SELinux is enforcing; please report it with the version of selinux-policy." >&2
    exit 0
fi
if selinuxenabled; then
    load_policy || :
    # Homes are the administrator's to label: see docs/admin.md.
    for path in /usr/sbin/idtokenctl /var/lib/pam_idtoken /run/pam_idtoken; do
        [ ! -e "$path" ] || restorecon -R "$path" || :
    done
fi
