//! Creates the first user in a layer of its own, so that another password does not mean another bootstrap.
//!
//! It lies above all packages, so that no script of a package meets the user's files, and the user can be in the groups
//! that packages make; and below all plugins, which find the user there.

use std::path::Path;

use serde::Serialize;

use super::layer::{self, Content};
use super::{Build, Layer, Layers, finalise};
use crate::error::{Context, Failure, Result, with_cause};
use crate::recipe::plan::User;
use crate::rootfs::accounts::Accounts;
use crate::rootfs::accounts::database::Database;
use crate::rootfs::changes::{Change, ChangeKind, changes};
use crate::rootfs::files::{Attrs, FileKind, ImagePath, Rootfs};
use crate::rootfs::layers::Mounted;
use crate::sandbox::command::BoxCommand;
use crate::store::key;
use crate::ui::{Step, printable};

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    user: &'a User,
    epoch: u64,
}

/// Returns the key of the layer on those of packages, unless the base has users of its own.
pub(super) fn key_of(build: &Build<'_>, layers: &Layers) -> Option<String> {
    let user = build.plan.user.as_ref()?;
    Some(key(&Inputs {
        step: "users, with what was made for them",
        below: layers.top(),
        user,
        epoch: layers.archive.epoch,
    }))
}

/// Returns the layer, unless the base has users of its own.
pub(super) fn ensure(build: &Build<'_>, layers: &Layers) -> Result<Option<Layer>> {
    let (Some(user), Some(key)) = (&build.plan.user, key_of(build, layers)) else { return Ok(None) };
    let step = build.ui.step(format!("Create the user {}", user.name));
    let layer = layer::ensure(build, layers, &key, step, |place| {
        create(user, place.root, layers.archive.epoch, place.step)?;
        let before = Mounted::read_only(place.lowers)?;
        let all = changes(&place.stage.path().join("fs"), before.path(), place.root)?;
        let (made, changed): (Vec<Change>, Vec<Change>) =
            all.into_iter().partition(|change| change.kind == ChangeKind::Added);
        let paths = |changes: Vec<Change>| changes.into_iter().map(|change| change.path).collect();
        Ok(Content { made: paths(made), changed: paths(changed), ..Content::default() })
    });
    layer.map(Some)
}

/// Creates a user. One that exists already, on an imported base, gets the recipe's settings.
fn create(user: &User, root: &Path, epoch: u64, step: &Step) -> Result<()> {
    let rootfs = Rootfs::open(root, epoch)?;
    let accounts = Accounts::read(&rootfs)?;
    // A release may lack a group (no audio, no netdev): the user is then simply not in it.
    let groups: Vec<&str> =
        user.groups.iter().map(String::as_str).filter(|group| accounts.gid(group).is_some()).collect();
    let joined = groups.join(",");
    let groups: &[&str] = if groups.is_empty() { &[] } else { &["--groups", &joined] };
    let is_new = accounts.user(&user.name).is_none();
    let argv: &[&str] =
        if is_new { &["useradd", "--create-home", "--shell", "/bin/bash"] } else { &["usermod", "--append"] };
    if is_new || !groups.is_empty() {
        run(root, &[argv, groups, &[user.name.as_str()]].concat(), epoch, step)?;
    }
    set_password(user, &rootfs, epoch)?;
    if user.expire_password {
        run(root, &["chage", "--lastday", "0", &user.name], epoch, step)?;
    }
    authorize(user, &rootfs)
}

/// Sets the password without a program of the image, so that the hash is in no command line and in no message.
fn set_password(user: &User, rootfs: &Rootfs, epoch: u64) -> Result<()> {
    const SHADOW: &str = "/etc/shadow";
    const SECONDS_OF_A_DAY: u64 = 86_400;
    let failed = || Failure::build(format!("cannot set the password of `{}`", user.name));
    let (tree, path) = (rootfs.exact(), ImagePath::parse(SHADOW)?);
    let attrs = tree.metadata(&path)?.map(|found| found.attrs);
    let mut database = Database { shadow: finalise::read(rootfs, SHADOW)?, ..Database::default() };
    database
        .set_password(&user.name, &user.password_hash, epoch / SECONDS_OF_A_DAY)
        .map_err(|cause| with_cause(anyhow::anyhow!(cause), failed()))?;
    if let (Some(attrs), Some(text)) = (attrs, database.shadow) {
        tree.write(&path, text.as_bytes(), attrs).with_context(failed)?;
    }
    Ok(())
}

fn authorize(user: &User, rootfs: &Rootfs) -> Result<()> {
    if user.authorized_keys.is_empty() {
        return Ok(());
    }
    let account = Accounts::read(rootfs)?
        .user(&user.name)
        .with_context(|| Failure::build(format!("useradd made no user `{}`", user.name)))?;
    let owned = |mode| Attrs { mode, uid: account.uid, gid: account.gid };
    let (tree, home) = (rootfs.exact(), ImagePath::parse(&account.home)?);
    let directory = home.join(".ssh")?;
    // Keys in somebody else's directory would let that person in, and on an imported base the directory may be
    // anybody's.
    let found = tree.metadata(&home)?;
    if !found.is_some_and(|found| found.kind == FileKind::Directory && found.attrs.uid == account.uid) {
        let text = format!("cannot authorize keys: `{}` is no directory of `{}`", printable(home.as_str()), user.name);
        return Err(Failure::build(text).into());
    }
    tree.make_dir_all(&directory, owned(0o700))?;
    let text = user.authorized_keys.join("\n") + "\n";
    tree.write(&directory.join("authorized_keys")?, text.as_bytes(), owned(0o600))?;
    Ok(())
}

fn run(root: &Path, argv: &[&str], epoch: u64, step: &Step) -> Result<()> {
    let mut command = BoxCommand::new(root, argv.iter().copied());
    // shadow records the day of the change, and takes it from this variable.
    command.env.push(("SOURCE_DATE_EPOCH".into(), epoch.to_string()));
    command.check(&mut |_, line| step.detail(line))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// A tree with a user `ann`, as an imported base may have it, and keys of root.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["etc", "home/ann", "root/.ssh", "srv/shared"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        chown(dir.path().join("home/ann"), Some(1000), Some(1000)).unwrap();
        fs::write(dir.path().join("etc/passwd"), "ann:x:1000:1000::/home/ann:/bin/sh\n").unwrap();
        fs::write(dir.path().join("root/.ssh/authorized_keys"), "root's").unwrap();
        dir
    }

    fn ann(authorized_keys: Vec<String>) -> User {
        User {
            name: "ann".into(),
            password_hash: "$6$salt$hash".into(),
            expire_password: false,
            groups: Vec::new(),
            authorized_keys,
        }
    }

    #[test]
    fn a_hash_is_in_its_file_and_in_no_message() {
        let dir = tree();
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let error = set_password(&ann(Vec::new()), &rootfs, 86_400).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot set the password of `ann`: the user `ann` has no line in `/etc/shadow`"
        );
        let shadow = dir.path().join("etc/shadow");
        fs::write(&shadow, "root:*:1:0:99999:7:::\nann:!:1:0:99999:7:::\n").unwrap();
        set_password(&ann(Vec::new()), &rootfs, 2 * 86_400).unwrap();
        let expected = "root:*:1:0:99999:7:::\nann:$6$salt$hash:2:0:99999:7:::\n";
        assert_eq!(fs::read_to_string(shadow).unwrap(), expected);
    }

    #[test]
    fn keys_are_for_the_user_alone_whatever_the_base_made_of_its_home() {
        let user = ann(vec!["ssh-ed25519 AAAA".into()]);
        let no_directory = "cannot authorize keys: `/home/ann` is no directory of `ann`";
        type Tamper<'a> = &'a dyn Fn(&Path);
        let put = |root: &Path, path: &str, target: &str| {
            fs::remove_dir_all(root.join(path)).ok();
            symlink(target, root.join(path)).unwrap();
        };
        let cases: [(Tamper<'_>, Option<&str>); 7] = [
            (&|_| {}, None),
            (&|root| put(root, "home/ann/.ssh", "/root/.ssh"), Some("it is a symbolic link to `/root/.ssh`")),
            (&|root| put(root, "home/ann", "/root"), Some(no_directory)),
            (&|root| put(root, "home", "/srv"), Some("`/home` is a symbolic link to `/srv`")),
            (&|root| chown(root.join("home/ann"), Some(0), Some(0)).unwrap(), Some(no_directory)),
            (&|root| fs::remove_dir(root.join("home/ann")).unwrap(), Some(no_directory)),
            (
                &|root| {
                    fs::create_dir(root.join("home/ann/.ssh")).unwrap();
                    symlink("/root/.ssh/authorized_keys", root.join("home/ann/.ssh/authorized_keys")).unwrap();
                },
                None,
            ),
        ];
        for (tamper, expected) in cases {
            let dir = tree();
            tamper(dir.path());
            let rootfs = Rootfs::open(dir.path(), 0).unwrap();
            let result = authorize(&user, &rootfs).map_err(|error| format!("{error:#}"));
            match expected {
                Some(cause) => assert!(result.unwrap_err().contains(cause)),
                None => {
                    result.unwrap();
                    let keys = dir.path().join("home/ann/.ssh/authorized_keys");
                    assert!(fs::symlink_metadata(&keys).unwrap().is_file());
                    assert_eq!(fs::read_to_string(keys).unwrap(), "ssh-ed25519 AAAA\n");
                }
            }
            assert_eq!(fs::read_to_string(dir.path().join("root/.ssh/authorized_keys")).unwrap(), "root's");
        }
    }
}
