# After the policy is there, new or updated: it is loaded, and what is labelled anew is ours alone.
# It is compiled on this host, against this host's policy.
dropin=/usr/lib/systemd/system/run-pam_idtoken-tokens.mount.d/selinux.conf
# With a label that the kernel does not know nothing is mounted.
rm -f "$dropin"
# shellcheck source=/dev/null
[ ! -e /etc/selinux/config ] || . /etc/selinux/config
[ "${SELINUXTYPE-}" = targeted ] || exit 0
if ! semodule -n -s targeted -X 200 -i /usr/share/selinux/packages/pam_idtoken.cil; then
    echo "pam-idtoken-selinux: the policy module does not load, so sshd can not write tokens where" >&2
    echo "SELinux is enforcing; please report it with the version of selinux-policy." >&2
    exit 0
fi
install -m 644 /usr/share/selinux/packages/pam_idtoken-mount.conf "$dropin"
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
if selinuxenabled; then
    load_policy || :
    # Homes are their users' to label: see docs/admin.md.
    [ ! -e /usr/sbin/idtokenctl ] || restorecon /usr/sbin/idtokenctl || :
    [ ! -e /var/lib/pam_idtoken ] || restorecon -R /var/lib/pam_idtoken || :
    # A private store belongs to its user, who may put a link in place of a directory while root
    # walks through it. Only what is in directories of root's is labelled.
    for path in /run/pam_idtoken /run/pam_idtoken/* /run/pam_idtoken/tokens/*; do
        [ ! -e "$path" ] || restorecon "$path" || :
    done
fi
