//! What plugins want of package runs: what is asked for, and what is refused before anybody is asked.

use std::path::Path;

use piimg::plugin::policy::Ceiling;

use super::*;

fn wished(granted: &Granted, params: &[(&str, &str)]) -> Ran {
    let given = [("question", "none"), ("value", "true"), ("pin", "none"), ("install", "none")].map(|(name, usual)| {
        (name, params.iter().find(|(other, _)| *other == name).map_or(usual, |(_, value)| *value))
    });
    run_plugin(image(), &look("prepares").unwrap(), granted, &given, Limits::EXECUTE)
}

#[test]
fn what_it_wants_before_it_runs_is_a_request() {
    let info = look("prepares").unwrap();
    let requests: Vec<(&str, &str, bool)> =
        info.requests.iter().map(|it| (it.scope.as_str(), it.reason.as_str(), it.listed)).collect();
    assert_eq!(
        requests[..4],
        [
            ("pkg:install:popularity-contest", "listed in apt_get_packages", true),
            ("pkg:pin:popularity-contest", "pinned to \"release n=bookworm\" at 600", true),
            ("debconf:popularity-contest/participate", "answered with boolean \"true\"", true),
            ("pkg:remove:vim-tiny", "to be removed", true),
        ]
    );
    assert!(requests[4..].iter().all(|(_, _, listed)| !listed), "{requests:?}");
}

#[test]
fn a_component_that_says_nothing_of_it_wants_nothing() {
    let info = look("unprepared").unwrap();
    assert_eq!(info.conf.wishes, Default::default());
    let ran = run("unprepared", &all(), Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.log, ["test/unprepared: it runs"]);
}

#[test]
fn a_question_of_another_package_is_not_answered() {
    for (granted, question, said) in [
        (all(), "openssh-server/permit-root-login", "`debconf:openssh-server/permit-root-login` was not requested"),
        (Granted::default(), "man-db/auto-update", "`debconf:man-db/auto-update` was requested, but not granted"),
    ] {
        let ran = wished(&granted, &[("question", question)]);
        assert_eq!(ran.failure(Kind::Grant).messages.last().unwrap(), said);
    }
}

#[test]
fn a_pin_of_more_than_was_asked_for_is_refused() {
    for (name, kind, said) in [
        ("*", Kind::Grant, "`pkg:pin:*` was not requested"),
        ("man-*", Kind::Grant, "`pkg:pin:man-*` was not requested"),
        ("man-db%0aPackage: *", Kind::Plugin, "must be of one package's name"),
        ("man-db tree", Kind::Plugin, "must be of one package's name"),
    ] {
        let ran = wished(&all(), &[("pin", name)]);
        let report = ran.failure(kind);
        assert!(report.messages.last().unwrap().contains(said), "{name}: {report:?}");
    }
}

#[test]
fn a_site_can_stop_each_wish() {
    let info = look("prepares").unwrap();
    let wishes = [
        ("pkg:pin", "pkg:pin:popularity-contest"),
        ("debconf", "debconf:popularity-contest/participate"),
        ("pkg:remove", "pkg:remove:vim-tiny"),
        ("pkg:install", "pkg:install:popularity-contest"),
    ];
    for (stopped, scope) in wishes {
        let others: Vec<&str> = wishes.iter().map(|(kind, _)| *kind).filter(|kind| *kind != stopped).collect();
        let policy = (Path::new("policy.toml"), format!("version = 1\nallow = {others:?}\n"));
        let granted = Granted { ceiling: Ceiling::parse(&[policy]).unwrap(), ..all() };
        let refused = GrantSet::new(&info, &BTreeMap::new(), &granted).unwrap().check().expect(stopped);
        let report = report(&refused.into());
        assert!(report.messages[0].contains(&format!("not allowed here:\n  {scope}")), "{stopped}: {report:?}");
        let named = wishes.iter().filter(|(_, other)| report.messages[0].contains(&format!("\n  {other}"))).count();
        assert_eq!(named, 1, "{stopped}: {report:?}");
    }
}

#[test]
fn what_is_no_answer_reaches_nobody() {
    for (question, value, said) in [
        ("man-db/auto-update", "x%0aopenssh-server openssh-server/permit-root-login boolean true", "must be one line"),
        ("man-db/auto-update", "x\\", "must be one line"),
        ("man-db/a b", "x", "behind the package's name"),
        ("man-db/*", "x", "behind the package's name"),
        ("man-db", "x", "must be `package/question`"),
    ] {
        let ran = wished(&all(), &[("question", question), ("value", value)]);
        let report = ran.failure(Kind::Plugin);
        assert!(report.messages.last().unwrap().contains(said), "{question}: {report:?}");
        assert!(ran.result.is_err() && ran.packages.is_empty());
    }
}
