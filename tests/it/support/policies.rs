//! Policies by which a login can be made for every reason.

/// Policies by name; each has a NAS and an application of its own.
pub(crate) const POLICIES: &[(&str, &str)] = &[
    ("otp", "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n"),
    ("pin", "[[rule]]\nname = \"all\"\nrequire = [\"pin\"]\n"),
    (
        "password",
        "[[rule]]\nname = \"all\"\nrequire = [\"password\"]\n",
    ),
    (
        "pin-otp",
        "bypass = true\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n",
    ),
    (
        "strong",
        "bypass = true\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\nmin_assurance = 2\n",
    ),
    (
        "sent",
        "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\nalternatives = [\"sms\", \"email\", \"voice\"]\n",
    ),
    (
        "staff",
        "[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\npresent = \"either\"\n\
         alternatives = [\"sms\", \"card\", \"recovery\"]\n",
    ),
    (
        "travel",
        "[exemption]\nhome = [\"KR\"]\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
         exempt = [\"otp\"]\n",
    ),
    (
        "insiders",
        "[[rule]]\nname = \"all\"\nwhen = { group = \"insiders\" }\nrequire = [\"otp\"]\n",
    ),
    (
        "long",
        "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[reply]\n\"Filter-Id\" = \"{group}\"\n",
    ),
    ("corp", "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n"),
    (
        "locking",
        "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[lockout]\nfree = 3\nlock_after = 3\n\
         source_free = 3\nsource_lock_after = 3\n",
    ),
];
