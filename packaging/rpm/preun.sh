# Before the files are removed: $1 is 0 when the package goes, 1 when an update replaced it. An
# update disturbs no session.
[ "$1" -eq 0 ] || exit 0

libexec=/usr/libexec/pam_idtoken
feature_is_off=

# stacks refuses|passes: the lines in any PAM stack that load the module, and do that without it. By
# authselect's own files its feature is switched off below.
stacks() {
    does=$1 skipped=
    set --
    for file in /etc/pam.d/* /usr/lib/pam.d/* /usr/share/pam.d/*; do
        [ -f "$file" ] || continue
        case $file in *.rpmnew | *.rpmsave | *.rpmorig | *~) continue ;; esac
        if [ -z "${with_authselect-}" ]; then
            case $(readlink -f "$file") in /etc/authselect/*) skipped="$skipped $file" && continue ;; esac
        fi
        set -- "$@" "$file"
    done
    found=$(SKIPPED=$skipped "$libexec/pam-lines" "$@") || return
    echo "$found" | sed -n "s/^$does /    /p"
}

refuse() {
    {
        echo "pam-idtoken is not removed: $1"
        [ -z "$feature_is_off" ] ||
            echo "authselect's feature is off already; $libexec/authselect-feature enable switches it on."
    } >&2
    exit 1
}

refuse_if_locked_out() {
    locks_out=$(stacks refuses) ||
        refuse "$libexec/pam-lines could not look for lines in /etc/pam.d
that refuse every login without it. Install the package again, then remove it."
    [ -z "$locks_out" ] || refuse "without it these lines refuse every login:
$locks_out
Take them out, then remove the package again."
}

# Before anything is changed.
refuse_if_locked_out

# A configuration of which only the place of the records is left: arguments are in the line that
# leaves. Empty if it is the default one.
place=$(timeout 30 /usr/sbin/idtokenctl show-config 2>/dev/null |
    sed -n 's/^\(state_dir = "[^"]*"\).*/\1/p' | grep -v '"/var/lib/pam_idtoken"')

if [ -x "$libexec/authselect-feature" ] && command -v authselect >/dev/null; then
    case " $(authselect current --raw 2>/dev/null) " in
    *' with-idtoken '*) "$libexec/authselect-feature" disable && feature_is_off=yes ;;
    esac
fi
with_authselect=yes
refuse_if_locked_out
left=$(stacks passes)
if [ -n "$left" ]; then
    {
        echo "pam-idtoken: these lines load a module that is not there any more. Each login by them logs"
        echo "an error, and is refused if its stack has no other line of the type. Take them out:"
        echo "$left"
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
by_systemd() {
    systemd-run --quiet --wait --collect --pipe "$@"
}
# It is bounded, whatever homes do: what is left is named, and expires.
end_tokens() {
    set -- timeout -k 5 60 /usr/sbin/idtokenctl
    if [ -n "$place" ]; then
        if config=$(mktemp /run/pam-idtoken.XXXXXX) && echo "$place" >"$config"; then
            set -- "$@" --config "$config"
        else
            echo "pam-idtoken: /run can not be written, so tokens with $place stay and expire." >&2
        fi
    fi
    set -- "$@" end --all
    if [ -d /run/systemd/system ] && by_systemd timeout 10 true 2>/dev/null; then
        by_systemd "$@"
    else
        "$@"
    fi
}
config=
end_tokens || echo "pam-idtoken: some tokens are left, and expire; the lines above say which." >&2
[ -z "$config" ] || rm -f "$config"

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    systemctl stop run-pam_idtoken-tokens.mount || :
fi
exit 0
