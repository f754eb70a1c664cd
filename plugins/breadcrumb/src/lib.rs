//! A robot's application: its sources, its workspace, its units and its network.

mod bringup;
mod checks;
mod units;

use piimg_plugin_sdk::network::{Connection, Profile, Service};
use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::sudo::{self, Rule};
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, git, log, services};

/// Program of the plugin `piimg/ros` that runs another one in the environment of ROS.
const RUN: &str = "/usr/local/bin/ros-env";
const ADDITION: &str = "/etc/ros/setup.d/breadcrumb.bash";
/// The file that opens the robot to other machines is in it.
const CONFIG: &str = "/etc/breadcrumb";
const SCRIPTS: &str = "/opt/breadcrumb";
const NAME: &str = "/opt/breadcrumb/name-machine";
const NAMED: &str = "/var/lib/breadcrumb-named";
const SCREEN: &str = "/opt/breadcrumb/show-screen";

/// Commands that the user may run as root: the buttons of the robot's screen.
const MAY: [&str; 6] = [
    "/usr/bin/systemctl poweroff",
    "/usr/bin/systemctl reboot",
    "/usr/bin/systemctl restart roscore.service",
    "/usr/bin/systemctl restart breadcrumb.service",
    "/usr/bin/touch /etc/breadcrumb/debug",
    "/usr/bin/rm /etc/breadcrumb/debug",
];

const MAY_RULE: Rule = sudo::without_password("{params.user}", &MAY);
const APPLICATION: Unit = Unit::new("breadcrumb.service");
const NAMING: Unit = Unit::new("breadcrumb-name.service");
struct Breadcrumb;

impl Plugin for Breadcrumb {
    fn conf() -> PluginConf {
        let text = |name: &str, title: &str, default: &str| Param::with_default(name, title, Kind::Text, &default);
        PluginConf::new("piimg/breadcrumb", env!("CARGO_PKG_VERSION"), "Breadcrumb")
            .description("A robot's application: its sources, its workspace, its units and its network.")
            .hostname("breadcrumb")
            .flavour("breadcrumb")
            .rootfs_extra_space_mb(2000)
            .packages(["network-manager", "python3-serial", "python3-smbus", "sudo", "unclutter", "zip"])
            // Those with a ROS 1.
            .releases(["bookworm", "trixie", "raspios-bookworm", "raspios-trixie", "focal"])
            .after("piimg/base")
            .after("piimg/desktop")
            .after("piimg/ros")
            .param(text("user", "who runs it", "ubuntu"))
            .param(text("workspace", "directory of the workspace in the user's home", "catkin_ws"))
            .param(text("commit", "whole id of the commit of the sources; empty: none are fetched", ""))
            .param(text("git-host", "where the sources are: https://HOST/OWNER/REPOSITORY", "git.example.org"))
            .param(text("git-owner", "whose they are there", "example"))
            .param(text("git-repository", "what they are called there", "breadcrumb"))
            .param(Param::with_default("private", "they are fetched with the secret `git-token`", Kind::Bool, &false))
            .param(text("git-user", "name that goes with the secret", "git"))
            .param(text("launch", "what starts with the system: PACKAGE FILE", "breadcrumb_bringup base.launch"))
            .param(text("screen", "what starts with the desktop: PACKAGE FILE; empty: nothing", ""))
            .param(text("interface", "the interfaces with a fixed address", "eth*"))
            .param(text("address", "that address, with its network", "192.168.42.125/24"))
            .param(text("name-after", "interface whose hardware address ends the host name; empty: none", "wlan0"))
            .needs_because(fs::reading(RUN), "looks whether there is a ROS")
            .capability("fs:write:/home/{params.user}/{params.workspace}/**", "the sources, and what is made of them")
            .needs_because(compilation(), "compiles the workspace, as the user")
            .optional_capability(
                "net:https://{params.git-host}/{params.git-owner}/{params.git-repository}/**",
                "fetches the sources",
            )
            .optional_capability("secret:git-token", "fetches sources that are not everybody's")
            .needs_because(MAY_RULE, "lets the user switch the robot off")
            .can_use(look_at_rule(), "has sudo look at that file")
            .needs_because(fs::writing(ADDITION), "keeps ROS to this machine unless looked into")
            .needs_because(fs::writing(CONFIG), "where the user says that it is being looked into")
            .needs_because(APPLICATION, "the robot's programs")
            .capability("svc:install:roscore.service", "keeps the logs of ROS off the card")
            .needs_because(fs::writing(SCRIPTS), "the directory of two scripts")
            .needs_because(fs::writing(NAME), "names the machine at the first boot")
            .needs_because(NAMING, "runs that script once")
            .needs_because(fs::writing(SCREEN), "shows the robot's screen")
            .capability("fs:write:/home/{params.user}/.config", "the directories of what the desktop starts")
            .capability("fs:write:/home/{params.user}/.config/autostart", "the same")
            .capability("fs:write:/home/{params.user}/.config/autostart/breadcrumb.desktop", "starts the screen")
            .needs_because(cable(), "gives the cable a fixed address")
    }

    fn execute() -> Result {
        let user: String = context::get("user")?;
        let launch = checks::launch(&context::get::<String>("launch")?)?;
        let screen: String = context::get("screen")?;
        let screen = if screen.is_empty() { None } else { Some(checks::launch(&screen)?) };
        let workspace: String = context::get("workspace")?;
        [&user, &workspace].into_iter().try_for_each(|name| checks::name(name))?;
        if !fs::exists(RUN)? {
            return Err("the image has no ROS: let the plugin `piimg/ros` run before this one".into());
        }

        cable().apply()?;
        add_sources(&user, &workspace)?;
        compilation().apply()?;
        lend_root()?;
        add_units(&user, &launch)?;
        name_at_first_boot()?;
        screen.map_or(Ok(()), |screen| show_screen(&user, &screen))
    }
}

piimg_plugin_sdk::plugin!(Breadcrumb);

/// Describes the wired connection; the plugin brings NetworkManager along.
fn cable() -> Profile {
    let cable = Connection::new("{params.interface}").address("{params.address}");
    cable.profile("breadcrumb").service(Service::NetworkManager)
}

/// Adds the package of this plugin, and those of a repository beside it.
fn add_sources(user: &str, workspace: &str) -> Result {
    let sources = format!("/home/{user}/{workspace}/src");
    for (path, text) in bringup::FILES {
        let path = format!("{sources}/breadcrumb_bringup/{path}");
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        fs::create_dir_all(directory).owner(user, user).apply()?;
        fs::write(&path, text).owner(user, user).apply()?;
    }
    let commit: String = context::get("commit")?;
    if commit.is_empty() {
        log::info!("no commit was given: the workspace has the package `breadcrumb_bringup` alone");
        return Ok(());
    }
    let repository: String = context::get("git-repository")?;
    let url = "https://{params.git-host}/{params.git-owner}/{params.git-repository}";
    let directory = format!("{sources}/{}", repository.trim_end_matches(".git"));
    let checkout = git::checkout(url, &commit, &directory).owner(user, user);
    let files = match context::get("private")? {
        true => checkout.authorized("{params.git-user}", "git-token").apply()?,
        false => checkout.apply()?,
    };
    log::info!("{files} files of {}", context::filled(url)?);
    Ok(())
}

/// Compiles as the user, so that nothing of it is root's and no script of a package runs as root.
fn compilation() -> Command {
    Command::new(RUN).arg("catkin_make").cwd("/home/{params.user}/{params.workspace}").user("{params.user}")
}

fn look_at_rule() -> Command {
    Command::new("/usr/sbin/visudo").args(["-c", "-f", "/etc/sudoers.d/piimg-{params.user}"])
}

fn lend_root() -> Result {
    MAY_RULE.apply()?;
    if context::may(&look_at_rule()) {
        look_at_rule().apply()?;
    }
    fs::create_dir_all(CONFIG).apply()?;
    Ok(())
}

fn add_units(user: &str, launch: &str) -> Result {
    fs::write(ADDITION, include_str!("environment.bash")).mode(0o644).apply()?;
    APPLICATION.apply(&units::application(user, launch))?;
    services::drop_in("roscore.service", "breadcrumb", &units::logs_in_memory("roscore"))?;
    Ok(())
}

fn name_at_first_boot() -> Result {
    let interface: String = context::get("name-after")?;
    if interface.is_empty() {
        return Ok(());
    }
    checks::name(&interface)?;
    fs::create_dir_all(SCRIPTS).apply()?;
    fs::write(NAME, include_str!("name-machine")).mode(0o755).owner("root", "root").apply()?;
    NAMING.apply(&units::name(&interface, &context::image().hostname))?;
    Ok(())
}

fn show_screen(user: &str, screen: &str) -> Result {
    fs::create_dir_all(SCRIPTS).apply()?;
    fs::write(SCREEN, include_str!("show-screen")).mode(0o755).owner("root", "root").apply()?;
    // Not for all users: the greeter of the desktop is one of them.
    let directory = format!("/home/{user}/.config/autostart");
    fs::create_dir_all(&directory).owner(user, user).apply()?;
    fs::write(&format!("{directory}/breadcrumb.desktop"), units::autostart(screen)).owner(user, user).apply()?;
    Ok(())
}

#[cfg(test)]
mod tests;
