# Before the files are removed: $1 is 0 when the package goes, 1 when an update replaced it. An
# update disturbs no session.
[ "$1" -eq 0 ] || exit 0

# stacks AWK: what AWK says of each line of the PAM stacks that loads the module. A backslash
# continues a line. By authselect's own files its feature is switched off below.
stacks() {
    for file in /etc/pam.d/* /usr/lib/pam.d/* /usr/share/pam.d/*; do
        [ -f "$file" ] || continue
        case $file in *.rpmnew | *.rpmsave | *.rpmorig | *~) continue ;; esac
        if [ -z "${with_authselect-}" ]; then
            case $(readlink -f "$file") in /etc/authselect/*) continue ;; esac
        fi
        awk '{ line = line $0 }
            sub(/\\$/, " ", line) { next }
            { text = tolower(line); line = "" }
            { sub(/#.*/, "", text); sub(/^[ \t]+/, "", text) }
            text ~ /[ \t\/]pam_idtoken\.so([ \t]|$)/ && '"$1"' { print FILENAME ": " text }' "$file"
    done
}
# Without the module libpam passes over these; any other line refuses every login of its service,
# with a dash in front of it or not.
harmless='(text ~ /^-?[a-z]+[ \t]+(optional|sufficient)[ \t]/ ||
    text ~ /^-?[a-z]+[ \t]+\[[^]]*default=ignore/ && text !~ /module_unknown/)'

refuse_if_locked_out() {
    locks_out=$(stacks "! $harmless")
    [ -n "$locks_out" ] || return 0
    {
        echo "pam-idtoken is not removed: without it these lines refuse every login:"
        echo "$locks_out" | sed 's/^/    /'
        echo "Take them out, then remove the package again."
    } >&2
    exit 1
}

# Before anything is changed.
refuse_if_locked_out

if [ -x /usr/libexec/pam_idtoken/authselect-feature ] && command -v authselect >/dev/null; then
    /usr/libexec/pam_idtoken/authselect-feature disable || :
fi
with_authselect=yes
refuse_if_locked_out
left=$(stacks "$harmless")
if [ -n "$left" ]; then
    {
        echo "pam-idtoken: these lines load a module that is not there any more. Nobody is refused,"
        echo "and each login logs an error. Take them out:"
        echo "$left" | sed 's/^/    /'
    } >&2
fi

timers='pam_idtoken-reconcile.timer pam_idtoken-reconcile.path pam_idtoken-reconcile.service'
if [ -d /run/systemd/system ]; then
    # Before tokens are ended: nothing must give a session another one.
    # shellcheck disable=SC2086
    systemctl stop $timers || :
fi
# shellcheck disable=SC2086
systemctl --no-reload --quiet disable $timers run-pam_idtoken-tokens.mount || :

# By systemd if it can be, since rpm may hide homes from its scripts (rpm-plugin-unshare).
end_tokens() {
    if [ -d /run/systemd/system ] && systemd-run --quiet --wait --collect --pipe \
        /usr/sbin/idtokenctl end --all; then
        return
    fi
    /usr/sbin/idtokenctl end --all
}
end_tokens || echo "pam-idtoken: some tokens are left, and expire; the lines above say which." >&2

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    systemctl stop run-pam_idtoken-tokens.mount || :
fi
exit 0
