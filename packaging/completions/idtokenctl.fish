# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_idtokenctl_global_optspecs
    string join \n config= service= h/help V/version
end

function __fish_idtokenctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_idtokenctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_idtokenctl_using_subcommand
    set -l cmd (__fish_idtokenctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -s h -l help -d 'Print help'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -s V -l version -d 'Print version'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "check" -d 'Says whether this host is ready, and what to do if it is not'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "list" -d 'Lists the sessions of this host with their state'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "verify" -d 'Says of each token in a file whether it is valid, or why it is not'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "show-config" -d 'Prints the effective configuration and where each value comes from'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "reconcile" -d 'Removes the tokens of sessions that have ended and renews those that are due'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "end" -d 'Takes the token of a session away now; the session itself goes on'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "revoke-expr" -d 'Prints the setting of HTCondor that makes a pool refuse tokens until they expire'
complete -c idtokenctl -n "__fish_idtokenctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l user -d 'Say which tokens this user would get and why, and which of the user\'s own are in the way; none is left behind' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l from -d 'As if the user came from there' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l auth -d 'As if the user had proved who they are by this method of SSH, such as publickey' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l online -d 'Ask the pool, too: each schedd and the collector, with a token of the user\'s that is gone afterwards. The hosts have a minute to answer, all together'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -l json -d 'One JSON document, for a monitor'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand list" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand list" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand list" -l json -d 'One JSON object per session, one per line'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand list" -s h -l help -d 'Print help'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand verify" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand verify" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand show-config" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand show-config" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand show-config" -s h -l help -d 'Print help'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l user -d 'Only the sessions of this user' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l every -d 'For timers: this runs again after so long, so tokens may be as short as `lifetime`' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l dry-run -d 'Say what would be done and do nothing'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -l json -d 'One JSON object per action, one per line, then a summary'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand reconcile" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand end" -l user -d 'All sessions of this user' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand end" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand end" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand end" -l all -d 'All sessions of this host, as before the module is removed'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand end" -s h -l help -d 'Print help'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -l user -d 'Only tokens of this user' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -l session -d 'Only tokens of this session, closed or not' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -l since -d 'Only tokens signed since: a day or a time in UTC, such as 2026-01-31 or 2026-01-31T12:00:00Z, or as long ago as 2h' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -l config -d 'Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml]' -r -F
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -l service -d 'PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration' -r
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand revoke-expr" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "check" -d 'Says whether this host is ready, and what to do if it is not'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "list" -d 'Lists the sessions of this host with their state'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "verify" -d 'Says of each token in a file whether it is valid, or why it is not'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "show-config" -d 'Prints the effective configuration and where each value comes from'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "reconcile" -d 'Removes the tokens of sessions that have ended and renews those that are due'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "end" -d 'Takes the token of a session away now; the session itself goes on'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "revoke-expr" -d 'Prints the setting of HTCondor that makes a pool refuse tokens until they expire'
complete -c idtokenctl -n "__fish_idtokenctl_using_subcommand help; and not __fish_seen_subcommand_from check list verify show-config reconcile end revoke-expr help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
