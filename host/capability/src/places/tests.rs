use super::*;

/// Files as an attacker would choose them, and of which place each is.
#[rustfmt::skip] // A table.
const FILES: &[(&str, &str)] = &[
    ("/etc/sudoers", "sudoers"),
    ("/etc/sudoers.d/zz", "sudoers"),
    ("/etc/doas.conf", "sudoers"),
    ("/etc/passwd", "accounts"),
    ("/etc/shadow", "accounts"),
    ("/etc/group", "accounts"),
    ("/etc/gshadow", "accounts"),
    ("/etc/subuid", "accounts"),
    ("/etc/userdb/x.user", "accounts"),
    ("/etc/shells", "account-rules"),
    ("/etc/login.defs", "account-rules"),
    ("/home/pi/.ssh/authorized_keys", "authorized-keys"),
    ("/root/.ssh/authorized_keys2", "authorized-keys"),
    ("/var/lib/git/.ssh/authorized_keys", "authorized-keys"),
    ("/etc/ssh/authorized_keys.d/pi", "authorized-keys"),
    ("/etc/ssh/sshd_config", "remote-login"),
    ("/etc/ssh/sshd_config.d/x.conf", "remote-login"),
    ("/etc/ssh/sshrc", "remote-login"),
    ("/home/pi/.ssh/rc", "remote-login"),
    ("/home/pi/.ssh/environment", "remote-login"),
    ("/etc/pam.d/sshd", "pam"),
    ("/etc/security/pam_env.conf", "pam"),
    ("/usr/lib/aarch64-linux-gnu/security/pam_x.so", "pam"),
    ("/lib/security/pam_x.so", "pam"),
    ("/etc/nsswitch.conf", "name-services"),
    ("/lib/aarch64-linux-gnu/libnss_x.so.2", "name-services"),
    ("/etc/polkit-1/rules.d/x.rules", "polkit"),
    ("/usr/share/polkit-1/actions/x.policy", "polkit-of-packages"),
    ("/etc/apparmor.d/local/x", "confinement"),
    ("/usr/local/share/ca-certificates/x.crt", "trust"),
    ("/etc/ssl/openssl.cnf", "trust"),
    ("/etc/apt/apt.conf.d/zz", "package-manager"),
    ("/etc/apt/sources.list", "package-manager"),
    ("/etc/dpkg/dpkg.cfg.d/zz", "package-manager"),
    ("/usr/share/keyrings/x.gpg", "package-manager"),
    ("/etc/needrestart/conf.d/x.conf", "package-manager"),
    ("/var/lib/dpkg/info/bash.postinst", "package-scripts"),
    ("/etc/alternatives/editor", "alternatives"),
    ("/etc/ld.so.preload", "preload"),
    ("/etc/ld.so.conf.d/x.conf", "loader"),
    ("/etc/ld.so.cache", "loader"),
    ("/lib/ld-linux-aarch64.so.1", "loader"),
    ("/usr/lib/aarch64-linux-gnu/gconv/gconv-modules", "character-sets"),
    ("/usr/lib/locale/C.utf8/LC_CTYPE", "locales"),
    ("/usr/lib/locale/locale-archive", "locales"),
    ("/etc/asound.conf", "loaded-by-name"),
    ("/etc/environment", "environment"),
    ("/etc/environment.d/x.conf", "environment"),
    ("/etc/default/locale", "environment"),
    ("/home/pi/.config/environment.d/x.conf", "environment"),
    ("/etc/systemd/system-generators/x", "generators"),
    ("/usr/lib/systemd/user-generators/x", "generators"),
    ("/etc/systemd/system-environment-generators/x", "generators"),
    ("/usr/local/lib/systemd/user-environment-generators/x", "generators"),
    ("/etc/systemd/system/multi-user.target.wants/x.service", "enabled-unit"),
    ("/etc/systemd/system/x.service.requires/y.service", "enabled-unit"),
    ("/etc/systemd/user/default.target.wants/x.service", "enabled-unit"),
    ("/usr/lib/systemd/system/sysinit.target.wants/x.service", "enabled-unit"),
    ("/lib/systemd/system/sysinit.target.wants/x.service", "enabled-unit"),
    ("/home/pi/.config/systemd/user/default.target.wants/x.service", "enabled-unit"),
    ("/var/lib/systemd/linger/pi", "enabled-unit"),
    ("/etc/systemd/system-preset/00.preset", "presets"),
    ("/usr/lib/systemd/system-shutdown/x", "suspend-and-shutdown"),
    ("/etc/systemd/system/x.service", "units"),
    ("/etc/systemd/system/ssh.service.d/x.conf", "units"),
    ("/etc/systemd/system/x.timer", "units"),
    ("/etc/systemd/system/x.socket", "units"),
    ("/etc/systemd/system/x.path", "units"),
    ("/etc/systemd/user/x.service", "units"),
    ("/etc/systemd/system.conf.d/x.conf", "units"),
    ("/home/pi/.config/systemd/user/x.service", "units"),
    ("/lib/systemd/system/ssh.service", "units-of-packages"),
    ("/etc/tmpfiles.d/x.conf", "tmpfiles"),
    ("/usr/lib/tmpfiles.d/x.conf", "tmpfiles-of-packages"),
    ("/etc/sysusers.d/x.conf", "sysusers"),
    ("/usr/lib/sysusers.d/x.conf", "sysusers-of-packages"),
    ("/etc/cloud/cloud.cfg.d/x.cfg", "first-boot"),
    ("/var/lib/cloud/scripts/per-boot/x", "first-boot"),
    ("/boot/firmware/user-data", "first-boot"),
    ("/boot/firmware/firstrun.sh", "first-boot"),
    ("/boot/firmware/userconf.txt", "first-boot"),
    ("/boot/firmware/ssh", "first-boot"),
    ("/boot/firmware/config.txt", "boot-files"),
    ("/boot/firmware/cmdline.txt", "boot-files"),
    ("/boot/config.txt", "boot-files"),
    ("/etc/default/raspi-firmware", "boot-files"),
    ("/boot/firmware/kernel8.img", "kernel-and-firmware"),
    ("/boot/firmware/overlays/x.dtbo", "kernel-and-firmware"),
    ("/boot/initrd.img-6.1", "kernel-and-firmware"),
    ("/lib/firmware/brcm/x.bin", "kernel-and-firmware"),
    ("/etc/fstab", "mounts"),
    ("/etc/crypttab", "mounts"),
    ("/etc/rc.local", "boot-scripts"),
    ("/etc/rc2.d/S01x", "boot-scripts"),
    ("/etc/rcS.d/S01x", "boot-scripts"),
    ("/etc/init.d/x", "init-scripts"),
    ("/etc/default/ssh", "defaults"),
    ("/etc/initramfs-tools/hooks/x", "kernel-hooks"),
    ("/etc/initramfs-tools/scripts/init-top/x", "kernel-hooks"),
    ("/etc/kernel/postinst.d/x", "kernel-hooks"),
    ("/usr/share/initramfs-tools/hooks/x", "kernel-hooks-of-packages"),
    ("/etc/modprobe.d/x.conf", "kernel-modules"),
    ("/etc/modules", "kernel-modules"),
    ("/etc/modules-load.d/x.conf", "kernel-modules"),
    ("/usr/lib/modprobe.d/x.conf", "kernel-modules-of-packages"),
    ("/lib/modules/6.1/extra/x.ko", "kernel-modules-of-packages"),
    ("/etc/sysctl.conf", "sysctl"),
    ("/etc/sysctl.d/x.conf", "sysctl"),
    ("/etc/binfmt.d/x.conf", "binary-formats"),
    ("/etc/udev/rules.d/x.rules", "udev"),
    ("/lib/udev/rules.d/x.rules", "udev-of-packages"),
    ("/etc/acpi/events/x", "device-hooks"),
    ("/etc/crontab", "cron"),
    ("/etc/cron.d/x", "cron"),
    ("/etc/cron.daily/x", "cron"),
    ("/etc/cron.hourly/x", "cron"),
    ("/etc/anacrontab", "cron"),
    ("/var/spool/cron/crontabs/root", "cron"),
    ("/var/spool/cron/atjobs/x", "cron"),
    ("/etc/logrotate.d/x", "log-rotation"),
    ("/etc/profile", "shells"),
    ("/etc/profile.d/x.sh", "shells"),
    ("/etc/bash.bashrc", "shells"),
    ("/etc/zsh/zshrc", "shells"),
    ("/etc/skel/.bashrc", "skeleton"),
    ("/etc/update-motd.d/99-x", "login-messages"),
    ("/home/pi/.bashrc", "home-start-up"),
    ("/home/pi/.profile", "home-start-up"),
    ("/home/pi/.config/autostart/x.desktop", "home-start-up"),
    ("/home/pi/.xsessionrc", "home-start-up"),
    ("/home/pi/.local/lib/python3.11/site-packages/usercustomize.py", "home-start-up"),
    ("/home/pi/.local/bin/ls", "home-start-up"),
    ("/root/.bashrc", "root-home"),
    ("/etc/X11/Xsession.d/x", "graphical-sessions"),
    ("/etc/xdg/autostart/x.desktop", "graphical-sessions"),
    ("/etc/lightdm/lightdm.conf", "graphical-sessions"),
    ("/usr/share/xsessions/x.desktop", "graphical-sessions-of-packages"),
    ("/etc/dbus-1/system.d/x.conf", "d-bus"),
    ("/usr/share/dbus-1/system-services/x.service", "d-bus-of-packages"),
    ("/etc/NetworkManager/dispatcher.d/x", "network-hooks"),
    ("/usr/lib/NetworkManager/dispatcher.d/x", "network-hooks"),
    ("/etc/networkd-dispatcher/routable.d/x", "network-hooks"),
    ("/etc/network/if-up.d/x", "network-hooks"),
    ("/etc/network/interfaces", "network-hooks"),
    ("/etc/dhcp/dhclient-exit-hooks.d/x", "network-hooks"),
    ("/etc/dhcpcd.exit-hook", "network-hooks"),
    ("/lib/dhcpcd/dhcpcd-hooks/x", "network-hooks"),
    ("/etc/ppp/ip-up.d/x", "network-hooks"),
    ("/etc/wireguard/wg0.conf", "network-hooks"),
    ("/etc/rsyslog.d/x.conf", "daemons"),
    ("/etc/NetworkManager/system-connections/x.nmconnection", "network"),
    ("/etc/systemd/network/x.network", "network"),
    ("/etc/hosts", "network"),
    ("/usr/local/bin/ls", "first-in-path"),
    ("/usr/local/sbin/sshd", "first-in-path"),
    ("/usr/lib/python3/dist-packages/x.pth", "interpreters"),
    ("/usr/lib/python3.11/sitecustomize.py", "interpreters"),
    ("/etc/python3.11/sitecustomize.py", "interpreters"),
    ("/usr/local/lib/python3.11/dist-packages/x.pth", "interpreters"),
    ("/opt/venv/lib/python3.11/site-packages/x.pth", "interpreters"),
    ("/etc/perl/sitecustomize.pl", "interpreters"),
    ("/usr/share/perl5/Debconf/FrontEnd/X.pm", "interpreters-of-packages"),
    ("/usr/local/lib/libc.so.6", "local-libraries"),
    ("/usr/bin/ls", "programs"),
    ("/bin/ls", "programs"),
    ("/usr/sbin/sshd", "programs"),
    ("/usr/lib/aarch64-linux-gnu/libc.so.6", "libraries"),
    ("/usr/libexec/x", "libraries"),
    ("/etc/u2f_mappings", "pam"),
    ("/var/lib/misc/shadow.db", "accounts"),
    ("/usr/share/base-passwd/passwd.master", "package-scripts"),
    ("/etc/request-key.d/x.conf", "key-requests"),
    ("/etc/confexts/x/etc/sudoers", "units"),
    ("/var/lib/extensions.mutable/usr/bin/ls", "units"),
    ("/var/lib/machines/x/etc/passwd", "units"),
    ("/etc/systemd/nspawn/x.nspawn", "units"),
    ("/etc/sysupdate.d/x.conf", "units"),
    ("/usr/share/factory/etc/pam.d/other", "tmpfiles-of-packages"),
    ("/vmlinuz", "kernel-and-firmware"),
    ("/etc/cryptsetup-keys.d/x.key", "mounts"),
    ("/etc/autofs.conf", "mounts"),
    ("/init", "boot-scripts"),
    ("/etc/dinit.d/x", "boot-scripts"),
    ("/etc/insserv/overrides/x", "boot-scripts"),
    ("/etc/cryptsetup-initramfs/conf-hook", "kernel-hooks"),
    ("/etc/mkinitcpio.d/x.preset", "kernel-hooks"),
    ("/etc/console-setup/cached_setup_keyboard.sh", "device-hooks"),
    ("/etc/ModemManager/fcc-unlock.d/x", "device-hooks"),
    ("/etc/tuned/x/script.sh", "device-hooks"),
    ("/etc/apcupsd/apccontrol", "device-hooks"),
    ("/etc/periodic/daily/x", "cron"),
    ("/home/pi/.ipython/profile_default/startup/x.py", "home-start-up"),
    ("/home/pi/.pyenv/shims/python", "home-start-up"),
    ("/home/pi/.mozilla/firefox/x.default/user.js", "home-start-up"),
    ("/home/pi/.kde/Autostart/x", "home-start-up"),
    ("/home/pi/.m2/settings.xml", "home-start-up"),
    ("/home/pi/.netrc", "home-start-up"),
    ("/var/lib/postgresql/.bashrc", "home-start-up"),
    ("/var/www/.profile", "home-start-up"),
    ("/etc/schroot/setup.d/x", "home-start-up"),
    ("/etc/ImageMagick-6/delegates.xml", "home-start-up"),
    ("/etc/mercurial/hgrc", "home-start-up"),
    ("/etc/gdm/Init/Default", "graphical-sessions"),
    ("/etc/sddm/Xsetup", "graphical-sessions"),
    ("/etc/chromium.d/x", "graphical-sessions"),
    ("/usr/share/gnome-shell/extensions/x/extension.js", "graphical-sessions-of-packages"),
    ("/etc/libvirt/hooks/qemu", "daemons"),
    ("/usr/share/containers/systemd/x.container", "daemons"),
    ("/etc/qemu-ga/fsfreeze-hook.d/x", "daemons"),
    ("/etc/resolv.conf", "network"),
    ("/usr/local/share/nvim/site/plugin/x.vim", "local-libraries"),
    ("/usr/local/share/fish/vendor_conf.d/x.fish", "local-libraries"),
    ("/usr/share/git-core/templates/hooks/post-checkout", "interpreters-of-packages"),
];

/// Files that are data, wherever else their names are known.
const PLAIN: [&str; 18] = [
    "/etc/breadcrumb",
    "/etc/app/app.conf",
    "/etc/app.d/cron.d/x",
    "/etc/motd",
    "/etc/issue",
    "/etc/hostname",
    "/etc/timezone",
    "/etc/sudoers2",
    "/etc/passwd2",
    "/opt/app/etc/sudoers",
    "/opt/app/bin/run",
    "/srv/www/index.html",
    "/home/pi/notes",
    "/home/pi/Documents/.bashrc",
    "/usr/share/app/data",
    "/usr/share/doc/app/copyright",
    "/var/lib/app/state",
    "/binary",
];

#[test]
fn each_file_is_of_its_place() {
    assert!(FILES.len() > 150);
    for (path, id) in FILES {
        assert_eq!(of_file(path).map(|place| place.id), Some(*id), "{path}");
    }
    for path in PLAIN {
        assert_eq!(of_file(path).map(|place| place.id), None, "{path}");
    }
}

/// A scope of that very file, its directory or a part of its name reaches it, by the same table.
#[test]
fn a_scope_that_could_reach_such_a_file_reaches_its_place() {
    for (path, id) in FILES {
        let (directory, name) = path.rsplit_once('/').unwrap();
        let half = name.char_indices().nth(name.chars().count() / 2).map_or(0, |(at, _)| at);
        let wide = [
            (*path).to_owned(),
            format!("{directory}/*"),
            format!("{directory}/**"),
            format!("{directory}/{}*", &name[..half]),
            format!("/**/{name}"),
            "/**".to_owned(),
        ];
        let place = by_id(id).unwrap();
        for scope in wide {
            // A file that is found anywhere is named, and no reason to call every directory one of those.
            let is_only_anywhere = !place.spellings().any(|glob| glob::matches_path(glob, path));
            assert!(place.within(&scope).is_some() || is_only_anywhere, "{scope} reaches {id}");
        }
    }
}

#[test]
fn directories_lead_to_what_is_in_them() {
    for (path, id) in [
        ("/etc", "sudoers"),
        ("/etc/sudoers.d", "sudoers"),
        ("/etc/cron.d", "cron"),
        ("/etc/pam.d", "pam"),
        ("/etc/systemd", "generators"),
        ("/etc/NetworkManager", "network"),
        ("/home/pi", "authorized-keys"),
        ("/home/pi/.ssh", "remote-login"),
        ("/usr/local", "sudoers"),
        ("/var/spool", "cron"),
        ("/usr/share", "pam"),
    ] {
        assert_eq!(of_directory(path).map(|place| place.id), Some(id), "{path}");
    }
    for path in ["/opt", "/opt/app", "/srv", "/media", "/etc/app", "/usr/share/app", "/var/lib/app", "/var/log"] {
        assert_eq!(of_directory(path).map(|place| place.id), None, "{path}");
    }
}

#[test]
fn the_table_is_in_order() {
    let mut ids: Vec<&str> = PLACES.iter().map(|place| place.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each has an id of its own");
    for place in PLACES {
        assert!(place.risk > Risk::Low, "{}: what stands here is worth a word", place.id);
        assert!(place.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", place.id);
        for glob in place.globs.iter().chain(place.anywhere) {
            let scope = format!("fs:write:{glob}");
            crate::capability::Capability::parse(&scope).unwrap_or_else(|error| panic!("{}: {error}", place.id));
        }
        for glob in place.globs {
            assert!(!glob.starts_with("/**") && !glob.starts_with("/*"), "{glob}: every scope would reach it");
        }
        // Each has a file in the table of files, or one like it has.
        let is_tried = FILES.iter().any(|(_, id)| *id == place.id);
        let is_like_another = ["-of-packages", "account-rules"].iter().any(|end| place.id.ends_with(end));
        assert!(is_tried || is_like_another, "{} has no file in the table above", place.id);
    }
}

#[test]
fn each_place_of_code_is_in_the_table() {
    for id in CODE {
        assert!(PLACES.iter().any(|place| place.id == id), "{id}");
    }
    for (path, expected) in [
        ("/usr/bin/sh", true),
        ("/usr/local/sbin/x", true),
        ("/etc/ld.so.preload", true),
        ("/usr/lib/gconv/x.so", true),
        ("/usr/lib/locale/locale-archive", false),
        ("/etc/systemd/system/x.service", false),
    ] {
        assert_eq!(of_file(path).unwrap().is_code(), expected, "{path}");
    }
}
