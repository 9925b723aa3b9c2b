# After the policy was removed: $1 is 0 when the package is gone.
[ "$1" -eq 0 ] || exit 0
# shellcheck source=/dev/null
[ ! -e /etc/selinux/config ] || . /etc/selinux/config
[ "${SELINUXTYPE-}" = targeted ] || exit 0
semodule -n -s targeted -X 200 -r pam_idtoken || :
if selinuxenabled; then
    load_policy || :
    # What is left would have a label that nobody knows.
    for path in /usr/sbin/idtokenctl /var/lib/pam_idtoken /run/pam_idtoken; do
        [ ! -e "$path" ] || restorecon -R "$path" || :
    done
fi
