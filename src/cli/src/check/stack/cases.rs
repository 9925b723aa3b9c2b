// Stacks in front of the module's line, and how libpam passes that line by. Ring 2 has libpam say
// so, the unit test has `check` say the same: neither knows the other.
//
// ASK is a module that may say success, auth_err, perm_denied or user_unknown. `/sub` and `/none`
// are files beside the stack: one with the lines given, one without session lines.

/// Lines before ours; lines of `/sub`; whether ours is passed by always, sometimes or never.
pub(crate) const CASES: &[(&str, &str, &str)] = &[
    ("session required ASK\n", "", "never"),
    ("session requisite ASK\n", "", "never"),
    ("session sufficient ASK\n", "", "sometimes"),
    ("session Sufficient ASK\n", "", "sometimes"),
    ("SESSION SUFFICIENT ASK\n", "", "sometimes"),
    ("session [success=1 default=ignore] ASK\n", "", "sometimes"),
    (
        "session [ success = 1 default = ignore ] ASK\n",
        "",
        "sometimes",
    ),
    (
        "session [success= 1 default =ignore] ASK\n",
        "",
        "sometimes",
    ),
    ("session [success=1 default=1] ASK\n", "", "always"),
    ("session [default=1 success=ok] ASK\n", "", "sometimes"),
    (
        "session [success=ok perm_denied=1 default=ignore] ASK\n",
        "",
        "sometimes",
    ),
    (
        "session [success=ok user_unknown=done default=ignore] ASK\n",
        "",
        "never",
    ),
    (
        "session [success=ok auth_err=1 default=ignore] ASK\n",
        "",
        "sometimes",
    ),
    ("session [success=2 default=ignore] ASK\n", "", "sometimes"),
    ("session [success=0 default=ignore] ASK\n", "", "never"),
    ("session [success=1 odd=1 default=1] ASK\n", "", "never"),
    (
        "session [default=1] ASK\nsession substack sub\n",
        "session optional pam_permit.so\n",
        "never",
    ),
    (
        "session [default=1] ASK\nsession substack none\n",
        "",
        "never",
    ),
    (
        "session [default=2] ASK\nsession substack none\n",
        "",
        "always",
    ),
    (
        "session [default=1] ASK\nsession include none\n",
        "",
        "always",
    ),
    (
        "session [default=1] ASK\nsession Substack none\n",
        "",
        "never",
    ),
    (
        "session Include sub\n",
        "session sufficient ASK\n",
        "sometimes",
    ),
    (
        "session substack sub\n",
        "session sufficient ASK\nsession optional pam_permit.so\n",
        "never",
    ),
    (
        "session [default=2] ASK\nsession substack sub\n",
        "session optional pam_permit.so\nsession substack none\nsession optional pam_permit.so\n",
        "always",
    ),
    (
        "session substack sub\n",
        "session [default=9] ASK\nsession optional pam_permit.so\n",
        "never",
    ),
    ("@include sub\n", "session sufficient ASK\n", "sometimes"),
    ("@Include sub\n", "session sufficient ASK\n", "sometimes"),
];
