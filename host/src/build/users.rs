//! The first user: a layer of its own, so that another password does not mean another bootstrap.
//!
//! It lies above all packages, so that no script of a package meets the user's files, and the user can be in the groups
//! that packages make; and below all plugins, which find the user there.

use std::path::Path;

use serde::Serialize;

use super::above::{self, Content};
use super::{Build, Layer, Layers};
use crate::error::{Context, Failure, Result};
use crate::recipe::plan::User;
use crate::rootfs::accounts::Accounts;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::sandbox::command::BoxCommand;
use crate::store::key;
use crate::ui::Step;

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    user: &'a User,
    epoch: u64,
}

/// The key of the layer on those of packages, unless the base has users of its own.
pub(super) fn key_of(build: &Build<'_>, layers: &Layers) -> Option<String> {
    let user = build.plan.user.as_ref()?;
    Some(key(&Inputs { step: "users", below: layers.top(), user, epoch: layers.archive.epoch }))
}

/// The layer, unless the base has users of its own.
pub(super) fn ensure(build: &Build<'_>, layers: &Layers) -> Result<Option<Layer>> {
    let (Some(user), Some(key)) = (&build.plan.user, key_of(build, layers)) else { return Ok(None) };
    let title = format!("Create the user {}", user.name);
    let layer = above::ensure(build, layers, &key, title, |place| {
        create(user, place.root, layers.archive.epoch, place.step)?;
        Ok(Content::default())
    });
    layer.map(Some)
}

/// A user that is there already, on an imported base, gets what the recipe says.
fn create(user: &User, root: &Path, epoch: u64, step: &Step) -> Result<()> {
    let rootfs = Rootfs::open(root, epoch)?;
    let accounts = Accounts::read(&rootfs)?;
    // A release may lack a group (no audio, no netdev): the user is then simply not in it.
    let groups: Vec<&str> =
        user.groups.iter().map(String::as_str).filter(|group| accounts.gid(group).is_some()).collect();
    let mut argv = if accounts.user(&user.name).is_none() {
        vec!["useradd", "--create-home", "--shell", "/bin/bash"]
    } else if groups.is_empty() {
        vec!["usermod"]
    } else {
        vec!["usermod", "--append"]
    };
    argv.extend(["--password", &user.password_hash]);
    let joined = groups.join(",");
    if !groups.is_empty() {
        argv.extend(["--groups", &joined]);
    }
    argv.push(&user.name);
    run(root, &argv, epoch, step)?;
    if user.expire_password {
        run(root, &["chage", "--lastday", "0", &user.name], epoch, step)?;
    }
    authorize(user, &rootfs)
}

fn authorize(user: &User, rootfs: &Rootfs) -> Result<()> {
    if user.authorized_keys.is_empty() {
        return Ok(());
    }
    let account = Accounts::read(rootfs)?
        .user(&user.name)
        .with_context(|| Failure::build(format!("useradd made no user `{}`", user.name)))?;
    let owned = |mode| Attrs { mode, uid: account.uid, gid: account.gid };
    let directory = ImagePath::parse(&account.home)?.join(".ssh")?;
    rootfs.make_dir_all(&directory, owned(0o700))?;
    let text = user.authorized_keys.join("\n") + "\n";
    rootfs.write(&directory.join("authorized_keys")?, text.as_bytes(), owned(0o600))?;
    Ok(())
}

fn run(root: &Path, argv: &[&str], epoch: u64, step: &Step) -> Result<()> {
    let mut command = BoxCommand::new(root, argv.iter().copied());
    // shadow writes the day of the change, and takes it from here.
    command.env.push(("SOURCE_DATE_EPOCH".into(), epoch.to_string()));
    command.check(&mut |_, line| step.detail(line))?;
    Ok(())
}
