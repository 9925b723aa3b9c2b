# Before the policy is removed: $1 is 0 when it goes, 1 when an update replaced it. The module goes
# first; if it is still there its removal was refused, and without the policy sessions get no token.
[ "$1" -eq 0 ] || exit 0
if [ -e /usr/lib64/security/pam_idtoken.so ] && selinuxenabled; then
    {
        echo "pam-idtoken-selinux is not removed: sshd still loads pam_idtoken.so. Remove pam-idtoken"
        echo "first. To go on without the policy see docs/admin.md."
    } >&2
    exit 1
fi
