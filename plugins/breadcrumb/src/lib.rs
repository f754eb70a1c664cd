//! A robot's application: its sources, its workspace, its units and its network.

mod bringup;
mod checks;
mod units;

use piimg_plugin_sdk::network::Connection;
use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, git, log, services, sudo};

/// What the plugin `piimg/ros` makes: a program runs in the environment of ROS.
const RUN: &str = "/usr/local/bin/ros-env";
const ADDITION: &str = "/etc/ros/setup.d/breadcrumb.bash";
/// The file that opens the robot to other machines is in it.
const CONFIG: &str = "/etc/breadcrumb";
const SCRIPTS: &str = "/opt/breadcrumb";
const NAME: &str = "/opt/breadcrumb/name-machine";
const NAMED: &str = "/var/lib/breadcrumb-named";
const SCREEN: &str = "/opt/breadcrumb/show-screen";

/// What the user may do as root: the buttons of the robot's screen.
const MAY: [&str; 6] = [
    "/usr/bin/systemctl poweroff",
    "/usr/bin/systemctl reboot",
    "/usr/bin/systemctl restart roscore.service",
    "/usr/bin/systemctl restart breadcrumb.service",
    "/usr/bin/touch /etc/breadcrumb/debug",
    "/usr/bin/rm /etc/breadcrumb/debug",
];

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
            .capability("fs:read:/usr/local/bin/ros-env", "looks whether there is a ROS")
            .capability("fs:write:/home/{params.user}/{params.workspace}/**", "the sources, and what is made of them")
            .capability("exec:/usr/local/bin/ros-env catkin_make", "compiles the workspace, as the user")
            .optional_capability(
                "net:https://{params.git-host}/{params.git-owner}/{params.git-repository}/**",
                "fetches the sources",
            )
            .optional_capability("secret:git-token", "fetches sources that are not everybody's")
            .capability("fs:write:/etc/sudoers.d/piimg-{params.user}", "lets the user switch the robot off")
            .optional_capability(
                "exec:/usr/sbin/visudo -c -f /etc/sudoers.d/piimg-{params.user}",
                "has sudo look at that file",
            )
            .capability("fs:write:/etc/ros/setup.d/breadcrumb.bash", "keeps ROS to this machine unless looked into")
            .capability("fs:write:/etc/breadcrumb", "where the user says that it is being looked into")
            .capability("svc:install:breadcrumb.service", "the robot's programs")
            .capability("svc:enable:breadcrumb.service", "starts them with the system")
            .capability("svc:install:roscore.service", "keeps the logs of ROS off the card")
            .capability("fs:write:/opt/breadcrumb", "the directory of two scripts")
            .capability("fs:write:/opt/breadcrumb/name-machine", "names the machine at the first boot")
            .capability("svc:install:breadcrumb-name.service", "runs that script once")
            .capability("svc:enable:breadcrumb-name.service", "runs it with the system")
            .capability("fs:write:/opt/breadcrumb/show-screen", "shows the robot's screen")
            .capability("fs:write:/home/{params.user}/.config", "the directories of what the desktop starts")
            .capability("fs:write:/home/{params.user}/.config/autostart", "the same")
            .capability("fs:write:/home/{params.user}/.config/autostart/breadcrumb.desktop", "starts the screen")
            .capability(
                "fs:write:/etc/NetworkManager/system-connections/breadcrumb.nmconnection",
                "gives the cable a fixed address",
            )
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

        set_up_network()?;
        add_sources(&user, &workspace)?;
        compile(&user, &workspace)?;
        lend_root(&user)?;
        add_units(&user, &launch)?;
        name_at_first_boot()?;
        screen.map_or(Ok(()), |screen| show_screen(&user, &screen))
    }
}

piimg_plugin_sdk::plugin!(Breadcrumb);

fn set_up_network() -> Result {
    let (interface, address) = (context::get::<String>("interface")?, context::get::<String>("address")?);
    Ok(Connection::new(&interface).address(&address).write_network_manager("breadcrumb")?)
}

/// The package of this plugin, and those of a repository beside it.
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
    let part = |name: &str| context::get::<String>(name);
    let repository = part("git-repository")?;
    let url = format!("https://{}/{}/{repository}", part("git-host")?, part("git-owner")?);
    let directory = format!("{sources}/{}", repository.trim_end_matches(".git"));
    let checkout = git::checkout(&url, &commit, &directory).owner(user, user);
    let files = match context::get("private")? {
        true => checkout.authorized(&part("git-user")?, "git-token")?,
        false => checkout.run()?,
    };
    log::info!("{files} files of {url}");
    Ok(())
}

/// As the user, so that nothing of it is root's and no script of a package runs as root.
fn compile(user: &str, workspace: &str) -> Result {
    Ok(Command::new(RUN).arg("catkin_make").cwd(&format!("/home/{user}/{workspace}")).user(user).run()?)
}

fn lend_root(user: &str) -> Result {
    sudo::without_password(user, &MAY)?;
    if context::granted("exec:/usr/sbin/visudo -c -f /etc/sudoers.d/piimg-{params.user}") {
        Command::new("/usr/sbin/visudo").args(["-c", "-f", &format!("/etc/sudoers.d/piimg-{user}")]).run()?;
    }
    fs::create_dir_all(CONFIG).apply()?;
    Ok(())
}

fn add_units(user: &str, launch: &str) -> Result {
    fs::write(ADDITION, include_str!("environment.bash")).mode(0o644).apply()?;
    services::add("breadcrumb.service", &units::application(user, launch))?;
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
    services::add("breadcrumb-name.service", &units::name(&interface, &context::image().hostname))?;
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
