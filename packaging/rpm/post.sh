# After the files are there: $1 is 1 when the package is new, more when it is an update. An update
# starts and stops nothing: what the administrator disabled stays disabled, and stores of open
# sessions stay mounted.
systemd-tmpfiles --create pam_idtoken.conf || :
[ "$1" -eq 1 ] || exit 0

systemctl --no-reload preset run-pam_idtoken-tokens.mount pam_idtoken-reconcile.service \
    pam_idtoken-reconcile.timer pam_idtoken-reconcile.path || :

# Not while an image is made.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || :
for unit in run-pam_idtoken-tokens.mount pam_idtoken-reconcile.timer pam_idtoken-reconcile.path; do
    if systemctl --quiet is-enabled "$unit"; then
        systemctl start "$unit" || :
    fi
done
