# After the files were removed: $1 is 0 when the package is gone, 1 and more after an update.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # Never the mount: to restart it is to take the tokens of open sessions away.
    [ "$1" -eq 0 ] ||
        systemctl try-restart pam_idtoken-reconcile.timer pam_idtoken-reconcile.path || :
fi
[ "$1" -eq 0 ] || exit 0
# A file system that a user has mounted on their store may never answer. Below a store the way is
# the user's to change, and nothing is unmounted.
sed -n 's|^\([^ ]* \)\{4\}\(/run/pam_idtoken/tokens/[^/ ]*\) .*|\2|p' /proc/self/mountinfo |
    while read -r mounted; do
        timeout -k 5 10 umount -l -c "$mounted" || :
    done
# What does not outlive a boot. Stores that could not be unmounted are left to their users.
timeout -k 5 30 rm -rf --one-file-system /run/pam_idtoken || :
