# After the policy was removed: $1 is 0 when the package is gone.
[ "$1" -eq 0 ] || exit 0
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
# shellcheck source=/dev/null
[ ! -e /etc/selinux/config ] || . /etc/selinux/config
[ "${SELINUXTYPE-}" = targeted ] || exit 0
semodule -n -s targeted -X 200 -r pam_idtoken || :
if selinuxenabled; then
    load_policy || :
    # What is left would have a label that nobody knows; not what is in a user's directory, where
    # root does not walk.
    for path in /usr/sbin/idtokenctl /run/pam_idtoken /run/pam_idtoken/* /run/pam_idtoken/tokens/*; do
        [ ! -e "$path" ] || restorecon "$path" || :
    done
    [ ! -e /var/lib/pam_idtoken ] || restorecon -R /var/lib/pam_idtoken || :
fi
