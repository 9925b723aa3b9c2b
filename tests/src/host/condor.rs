//! What is in the place of HTCondor's tools on a scratch host.

/// A script that prints what it is asked for out of `$source`, as condor_config_val does.
pub const ANSWERS: &str = r#"
    . $source
    printf '\t%s\n' $source
    shift 4
    for arg; do
        name=${arg#pam_idtoken:} value=
        case $arg in
        *=*) eval "value=\${${name%%=*}-}"; echo "${arg%%=*}=$value";;
        *) echo "$arg";;
        esac
    done"#;
