//! Places of an image where a file runs by itself, is loaded by what runs, or lends rights to somebody.
//!
//! The one table of them: the audit of a plugin ranks what it asks for by it, and a build names what was changed there,
//! whoever changed it and whoever granted it. A directory above such a place is judged like it where its own owner or mode
//! is another, or a link is in its place: then the files in it are somebody else's.
//!
//! A place that is missing here calms wrongly; one too many costs a line that somebody reads. So what is not known to be
//! data alone stands here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::glob;

/// Risks by reach, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Named files that nothing runs.
    Low,
    /// Parts of the system, within what the distribution made.
    Medium,
    /// Decides what runs on the Pi, or who gets in.
    High,
    /// Anything within the image.
    Critical,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl std::str::FromStr for Risk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Low, Self::Medium, Self::High, Self::Critical];
        all.into_iter()
            .find(|risk| risk.to_string() == text)
            .ok_or_else(|| "there are low, medium, high and critical".to_owned())
    }
}

/// Some paths of one kind.
#[derive(Debug)]
pub struct Place {
    /// Id in an image's record.
    pub id: &'static str,
    /// Effect of a file there, in words that follow its path.
    pub does: &'static str,
    pub risk: Risk,
    /// Packages bring such files all the time: of theirs, a build says nothing.
    pub is_usual: bool,
    /// Globs with the syntax of capabilities: `*` is a part of a segment, `**` any number of them. Globs below `/usr`
    /// also match without `/usr`: `/bin`, `/sbin` and `/lib` are links to there (<https://wiki.debian.org/UsrMerge>).
    globs: &'static [&'static str],
    /// Globs that name a changed file even in a directory that is granted for something else.
    anywhere: &'static [&'static str],
}

const fn place(id: &'static str, does: &'static str, globs: &'static [&'static str]) -> Place {
    Place { id, does, risk: Risk::High, is_usual: false, globs, anywhere: &[] }
}

impl Place {
    const fn usual(self) -> Self {
        Self { is_usual: true, ..self }
    }

    const fn anywhere(self, anywhere: &'static [&'static str]) -> Self {
        Self { anywhere, ..self }
    }

    const fn ranked(self, risk: Risk) -> Self {
        Self { risk, ..self }
    }

    /// Returns the globs as they are in a tree whose `/usr` is merged, and in one where it is not.
    fn spellings(&self) -> impl Iterator<Item = &'static str> {
        self.globs.iter().flat_map(|glob| {
            let unmerged = glob.strip_prefix("/usr").filter(|rest| MERGED.iter().any(|top| rest.starts_with(top)));
            [Some(*glob), unmerged].into_iter().flatten()
        })
    }

    /// Returns whether the file at `path`, an absolute one, is such a file.
    fn has(&self, path: &str) -> bool {
        self.spellings().chain(self.anywhere.iter().copied()).any(|glob| glob::matches_path(glob, path))
    }

    /// Returns whether `path` is a directory above such files.
    fn is_below(&self, path: &str) -> bool {
        self.spellings().any(|glob| above(glob).any(|above| glob::matches_path(&above, path)))
    }

    /// Returns whether all that `scope`, a glob, matches is of this place; errs on the side of no.
    pub fn has_all_of(&self, scope: &str) -> bool {
        let inner: Vec<&str> = scope.split('/').collect();
        let includes = |outer: &str, inner: &&str| *inner != "**" && glob::includes(outer, inner);
        self.spellings().any(|glob| {
            let outer: Vec<String> = glob.split('/').map(str::to_owned).collect();
            glob::matches_all(&outer, &inner, &includes)
        })
    }

    /// Returns the first paths of it that `scope`, a glob, has too.
    pub fn within(&self, scope: &str) -> Option<&'static str> {
        self.spellings().find(|glob| glob::meets_path(glob, scope))
    }

    /// Returns the first paths of it above which `scope`, a glob, has a directory.
    pub fn below(&self, scope: &str) -> Option<&'static str> {
        self.spellings().find(|glob| above(glob).any(|above| glob::meets_path(&above, scope)))
    }
}

/// Directories whose content is below `/usr` too.
const MERGED: [&str; 4] = ["/bin/", "/sbin/", "/lib/", "/lib64/"];

/// Returns the directories above the paths of a glob, `/` aside.
fn above(glob: &str) -> impl Iterator<Item = String> {
    let ends = glob.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.map(|at| glob[..at].to_owned())
}

/// Places of files that are programs, or that programs load as code.
const CODE: [&str; 10] = [
    "first-in-path",
    "programs",
    "libraries",
    "local-libraries",
    "interpreters",
    "interpreters-of-packages",
    "loader",
    "preload",
    "alternatives",
    "character-sets",
];

impl Place {
    /// Returns whether what is here is a program, or code that programs load.
    pub fn is_code(&self) -> bool {
        CODE.contains(&self.id)
    }
}

/// Returns the place of which the file at `path` is.
pub fn of_file(path: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.has(path))
}

/// Returns the place of which the directory at `path` is, or to which it leads.
pub fn of_directory(path: &str) -> Option<&'static Place> {
    of_file(path).or_else(|| PLACES.iter().find(|place| place.is_below(path)))
}

/// Returns the place of that name.
pub fn by_id(id: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.id == id)
}

/// All of them. Of several that a path is of, the first one is told: the narrower and the graver stand first.
#[rustfmt::skip] // One place, one entry, however many paths it has.
pub static PLACES: &[Place] = &[
    // Rights.
    place("sudoers", "says who may become root", &[
        "/etc/sudoers", "/etc/sudoers.d/**", "/etc/sudo.conf", "/etc/sudo_*.conf", "/etc/doas.conf", "/etc/doas.d/**",
        "/etc/super.tab", "/usr/local/etc/sudoers", "/usr/local/etc/sudoers.d/**",
    ]),
    place("accounts", "says who exists, with which rights and passwords", &[
        "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/userdb/**",
        "/usr/lib/userdb/**", "/var/lib/AccountsService/**", "/var/lib/extrausers/**", "/etc/opasswd",
        "/etc/tcb/**", "/var/lib/misc/*.db", "/var/lib/systemd/home/**",
    ]),
    place("account-rules", "decides how accounts are made and what they may", &[
        "/etc/login.defs", "/etc/shells", "/etc/securetty", "/etc/nologin", "/etc/adduser.conf", "/etc/deluser.conf",
        "/etc/default/useradd", "/usr/local/sbin/adduser.local", "/usr/local/sbin/deluser.local",
    ]),
    place("authorized-keys", "says who may log in", &[
        "/home/*/.ssh/authorized_keys*", "/root/.ssh/authorized_keys*", "/etc/ssh/authorized_keys*/**",
        "/etc/ssh/authorized_keys*", "/etc/ssh/authorized_principals*/**", "/etc/ssh/*ca*.pub",
        "/etc/dropbear/**", "/etc/dropbear-initramfs/**",
    ]).anywhere(&["/**/.ssh/authorized_keys*"]),
    place("remote-login", "decides who may log in from afar", &[
        "/etc/ssh/**", "/usr/lib/openssh/**", "/etc/hosts.equiv", "/etc/shosts.equiv", "/etc/krb5.conf",
        "/etc/krb5.conf.d/**", "/etc/krb5.keytab", "/home/*/.ssh/**", "/root/.ssh/**", "/home/*/.rhosts", "/home/*/.shosts",
        "/home/*/.k5login", "/root/.rhosts", "/root/.shosts", "/root/.k5login", "/etc/telnetd/**", "/etc/vsftpd*",
        "/etc/samba/**", "/etc/exports", "/etc/exports.d/**", "/etc/xrdp/**", "/etc/vnc/**", "/root/.vnc/**",
        "/home/*/.vnc/**", "/etc/cockpit/**", "/etc/rpi-connect/**", "/etc/webmin/**",
    ]).anywhere(&["/**/.ssh/**"]),
    place("pam", "decides who may log in", &[
        "/etc/pam.d/**", "/etc/pam.conf", "/etc/security/**", "/usr/lib/pam.d/**", "/usr/lib/security/**",
        "/usr/lib/*/security/**", "/usr/share/pam-configs/**", "/usr/share/pam/**", "/etc/pam_*.conf",
        "/etc/u2f_mappings", "/etc/users.oath", "/etc/yubico/**", "/etc/duo/**", "/etc/authselect/**", "/etc/pwdb.conf",
    ]).usual(),
    place("name-services", "decides where accounts and names come from, and which code finds them", &[
        "/etc/nsswitch.conf", "/usr/lib/libnss_*", "/usr/lib/*/libnss_*", "/etc/nslcd.conf", "/etc/nscd.conf",
        "/etc/sssd/**", "/etc/ldap/**", "/etc/ldap.conf", "/etc/libnss*",
    ]),
    place("polkit", "says who may do what root may", &[
        "/etc/polkit-1/**", "/var/lib/polkit-1/**", "/usr/local/share/polkit-1/**",
    ]),
    place("polkit-of-packages", "says who may do what root may", &["/usr/share/polkit-1/**"]).usual(),
    place("confinement", "says what programs may not do", &[
        "/etc/apparmor.d/**", "/etc/apparmor/**", "/var/lib/apparmor/**", "/etc/selinux/**", "/var/lib/selinux/**",
        "/etc/firejail/**", "/etc/seccomp/**",
    ]).usual(),
    place("trust", "says which servers and keys are believed, or which code checks them", &[
        "/etc/ssl/**", "/etc/ca-certificates/**", "/etc/ca-certificates.conf", "/usr/local/share/ca-certificates/**",
        "/usr/share/ca-certificates/**", "/etc/pki/**", "/etc/gnutls/**", "/etc/crypto-policies/**",
    ]).usual(),
    // What apt and dpkg do on the Pi.
    place("package-manager", "decides which packages are installed and believed, and may run commands", &[
        "/etc/apt/**", "/etc/dpkg/**", "/usr/share/keyrings/**", "/etc/needrestart/**", "/etc/apt-listchanges.conf",
        "/etc/apt-listchanges/**", "/etc/debconf.conf", "/etc/ucf.conf", "/var/lib/ucf/**", "/etc/update-manager/**",
        "/etc/update-notifier/**", "/etc/PackageKit/**", "/var/lib/snapd/**", "/etc/flatpak/**",
        "/usr/share/apt*/**", "/usr/share/debconf/**", "/var/cache/debconf/**", "/usr/share/unattended-upgrades/**",
    ]),
    place("package-scripts", "says what packages are, or is a script that runs with one", &[
        "/var/lib/dpkg/**", "/usr/share/base-passwd/**",
    ]).usual(),
    place("key-requests", "is run by the kernel when a key is asked for", &["/etc/request-key.conf", "/etc/request-key.d/**"]),
    place("alternatives", "decides which program a name means", &["/etc/alternatives/**"]).usual(),
    // Loaded into programs.
    place("preload", "is loaded into every program", &["/etc/ld.so.preload"]),
    place("loader", "decides which libraries programs load", &[
        "/etc/ld.so.conf", "/etc/ld.so.conf.d/**", "/etc/ld.so.cache", "/etc/ld-*", "/usr/lib/ld-*", "/usr/lib64/ld-*",
    ]).usual(),
    place("character-sets", "is loaded by programs that convert text", &[
        "/usr/lib/gconv/**", "/usr/lib/*/gconv/**", "/usr/local/lib/gconv/**", "/usr/local/lib/*/gconv/**",
    ]).usual(),
    // Data, though it is where code is.
    place("locales", "says how programs show text", &[
        "/usr/lib/locale/**", "/usr/local/lib/locale/**", "/usr/share/locale/locale.alias", "/etc/locale.alias",
    ]).ranked(Risk::Medium).usual(),
    place("loaded-by-name", "names libraries that programs load", &[
        "/etc/gss/**", "/etc/gssapi_mech.conf", "/etc/glvnd/**", "/usr/share/glvnd/**", "/etc/vulkan/**",
        "/usr/share/vulkan/**", "/etc/OpenCL/**", "/etc/asound.conf", "/etc/alsa/**", "/usr/share/alsa/**",
        "/etc/pkcs11/**", "/usr/share/p11-kit/**", "/etc/odbcinst.ini", "/etc/sasl2/**", "/etc/gtk-*/**",
        "/etc/imlib/**", "/etc/pipewire/**", "/etc/wireplumber/**", "/etc/pulse/**", "/usr/share/pipewire/**",
    ]).usual(),
    // Variables.
    place("environment", "sets variables of sessions, by which programs load code", &[
        "/etc/environment", "/etc/environment.d/**", "/usr/lib/environment.d/**", "/etc/locale.conf",
        "/etc/default/locale", "/home/*/.pam_environment", "/root/.pam_environment", "/home/*/.config/environment.d/**",
        "/root/.config/environment.d/**",
    ]),
    // systemd.
    place("generators", "is run at the beginning of every boot", &[
        "/etc/systemd/*-generators/**", "/usr/lib/systemd/*-generators/**", "/usr/local/lib/systemd/*-generators/**",
    ]),
    place("enabled-unit", "is a unit that starts at boot", &[
        "/etc/systemd/*/*.wants/*", "/etc/systemd/*/*.requires/*", "/etc/systemd/*/*.upholds/*",
        "/usr/lib/systemd/*/*.wants/*", "/usr/lib/systemd/*/*.requires/*", "/usr/lib/systemd/*/*.upholds/*",
        "/usr/local/lib/systemd/*/*.wants/*", "/usr/local/lib/systemd/*/*.requires/*",
        "/usr/local/lib/systemd/*/*.upholds/*", "/home/*/.config/systemd/user/*.wants/*",
        "/root/.config/systemd/user/*.wants/*", "/var/lib/systemd/linger/*",
    ]),
    place("presets", "decides which units start at boot", &[
        "/etc/systemd/*-preset/**", "/usr/lib/systemd/*-preset/**", "/usr/local/lib/systemd/*-preset/**",
    ]),
    place("suspend-and-shutdown", "is run when the machine stops or sleeps", &[
        "/etc/systemd/system-shutdown/**", "/usr/lib/systemd/system-shutdown/**", "/etc/systemd/system-sleep/**",
        "/usr/lib/systemd/system-sleep/**", "/etc/pm/**", "/usr/lib/pm-utils/**",
    ]),
    place("units", "says what systemd runs, when and as whom", &[
        "/etc/systemd/system/**", "/etc/systemd/user/**", "/etc/systemd/system.*/**", "/etc/systemd/user.*/**",
        "/etc/systemd/*.conf", "/etc/systemd/*.conf.d/**", "/usr/local/lib/systemd/**", "/home/*/.config/systemd/**",
        "/root/.config/systemd/**", "/home/*/.local/share/systemd/**", "/root/.local/share/systemd/**",
        "/etc/credstore/**", "/etc/credstore.encrypted/**", "/etc/portables/**", "/var/lib/portables/**",
        "/etc/extensions/**", "/var/lib/extensions/**", "/var/lib/confexts/**", "/usr/share/systemd/**",
        "/etc/confexts/**", "/var/lib/extensions.mutable/**", "/var/lib/machines/**", "/etc/systemd/nspawn/**",
        "/etc/systemd/dnssd/**", "/etc/sysupdate*.d/**", "/var/lib/systemd/credential.secret",
    ]),
    place("units-of-packages", "says what systemd runs, when and as whom", &["/usr/lib/systemd/**"]).usual(),
    place("tmpfiles", "makes files of any owner and mode at boot", &[
        "/etc/tmpfiles.d/**", "/usr/local/lib/tmpfiles.d/**", "/etc/user-tmpfiles.d/**", "/usr/share/user-tmpfiles.d/**",
        "/home/*/.config/user-tmpfiles.d/**", "/root/.config/user-tmpfiles.d/**", "/etc/repart.d/**",
        "/usr/lib/repart.d/**", "/etc/systemd/repart.d/**",
    ]),
    place("tmpfiles-of-packages", "makes files of any owner and mode at boot, or is put into /etc then", &[
        "/usr/lib/tmpfiles.d/**", "/usr/share/factory/**",
    ]).usual(),
    place("sysusers", "makes accounts at boot", &["/etc/sysusers.d/**", "/usr/local/lib/sysusers.d/**"]),
    place("sysusers-of-packages", "makes accounts at boot", &["/usr/lib/sysusers.d/**"]).usual(),
    // At boot, otherwise.
    place("first-boot", "is obeyed as root at the first boot", &[
        "/etc/cloud/**", "/var/lib/cloud/**", "/boot/*/user-data", "/boot/*/meta-data", "/boot/*/vendor-data",
        "/boot/*/network-config", "/boot/user-data", "/boot/meta-data", "/boot/network-config", "/boot/*/firstrun.sh",
        "/boot/firstrun.sh", "/boot/*/userconf*", "/boot/userconf*", "/boot/*/ssh*", "/boot/ssh*", "/boot/*/custom.toml",
        "/boot/custom.toml", "/boot/*/wpa_supplicant.conf", "/boot/wpa_supplicant.conf", "/usr/lib/cloud-init/**",
        "/usr/lib/raspberrypi-sys-mods/**", "/usr/lib/userconf-pi/**", "/etc/ignition/**", "/usr/lib/raspi-config/**",
    ]),
    place("boot-files", "decides what the Pi boots", &[
        "/boot/*.txt", "/boot/*/*.txt", "/boot/grub/**", "/boot/efi/**", "/boot/loader/**", "/boot/extlinux/**",
        "/boot/boot.scr", "/boot/*/boot.scr", "/etc/rpi-eeprom-update", "/etc/default/rpi-eeprom-update",
        "/etc/default/raspi*", "/etc/default/flash-kernel", "/etc/flash-kernel/**", "/etc/grub.d/**", "/etc/u-boot*",
    ]),
    place("kernel-and-firmware", "is what the Pi boots", &["/boot/**", "/usr/lib/firmware/**", "/usr/lib/linux-image*/**", "/vmlinuz*", "/initrd.img*"]).usual(),
    place("mounts", "says what is mounted, and where from", &[
        "/etc/fstab", "/etc/fstab.d/**", "/etc/crypttab", "/etc/cryptsetup-keys.d/**", "/etc/auto.*", "/etc/auto.*/**",
        "/etc/autofs*", "/etc/iscsi/**", "/etc/mke2fs.conf",
    ]),
    place("boot-scripts", "is run at boot", &[
        "/etc/rc.local", "/etc/inittab", "/etc/init/**", "/etc/rc*.d/**", "/etc/boot.d/**", "/etc/rc.d/**", "/etc/runit/**",
        "/etc/sv/**", "/etc/service/**", "/etc/OpenRC/**", "/etc/conf.d/**", "/etc/local.d/**", "/etc/rc.conf",
        "/etc/rcS", "/etc/event.d/**", "/etc/insserv*/**", "/etc/s6*/**", "/etc/dinit.d/**", "/etc/ttys", "/etc/init", "/init",
        "/linuxrc",
    ]),
    place("init-scripts", "is run at boot", &["/etc/init.d/**", "/etc/lsb-base-logging.sh", "/usr/lib/lsb/**", "/usr/lib/init/**"]).usual(),
    place("defaults", "is read as shell code or variables by what runs at boot", &["/etc/default/**"]).usual(),
    place("kernel-hooks", "is run when a kernel or an initramfs is made, or goes into it", &[
        "/etc/kernel/**", "/etc/initramfs-tools/**", "/etc/initramfs/**", "/etc/dracut.conf", "/etc/dracut.conf.d/**",
        "/etc/mkinitcpio*", "/etc/mkinitcpio.d/**", "/etc/booster.yaml", "/etc/cryptsetup-initramfs/**", "/etc/kexec.conf",
        "/etc/kernel-img.conf", "/usr/local/lib/initramfs-tools/**",
    ]),
    place("kernel-hooks-of-packages", "is run when a kernel or an initramfs is made, or goes into it", &[
        "/usr/share/initramfs-tools/**", "/usr/lib/kernel/**", "/usr/share/kernel/**", "/usr/lib/dracut/**",
        "/usr/share/flash-kernel/**",
    ]).usual(),
    // The kernel and devices.
    place("kernel-modules", "says which code the kernel loads, and may run commands", &[
        "/etc/modprobe.d/**", "/etc/modprobe.conf", "/etc/modules", "/etc/modules-load.d/**", "/etc/depmod.d/**",
        "/usr/local/lib/modprobe.d/**", "/usr/local/lib/modules-load.d/**", "/usr/local/lib/depmod.d/**",
        "/etc/dkms/**", "/usr/src/**",
    ]),
    place("kernel-modules-of-packages", "says which code the kernel loads, or is it", &[
        "/usr/lib/modprobe.d/**", "/usr/lib/modules-load.d/**", "/usr/lib/depmod.d/**", "/usr/lib/modules/**", "/var/lib/dkms/**",
    ]).usual(),
    place("sysctl", "changes settings of the kernel, of which some are programs that it runs", &[
        "/etc/sysctl.conf", "/etc/sysctl.d/**", "/usr/local/lib/sysctl.d/**", "/etc/sysfs.conf", "/etc/sysfs.d/**",
    ]),
    place("sysctl-of-packages", "changes settings of the kernel, of which some are programs that it runs", &["/usr/lib/sysctl.d/**"]).usual(),
    place("binary-formats", "says what runs files of a kind", &[
        "/etc/binfmt.d/**", "/usr/lib/binfmt.d/**", "/usr/local/lib/binfmt.d/**", "/usr/share/binfmts/**", "/var/lib/binfmts/**",
    ]),
    place("udev", "is run when a device appears", &["/etc/udev/**", "/usr/local/lib/udev/**"]),
    place("udev-of-packages", "is run when a device appears", &["/usr/lib/udev/**"]).usual(),
    place("device-hooks", "is run when a device or a key says so", &[
        "/etc/acpi/**", "/etc/triggerhappy/**", "/etc/usb_modeswitch.d/**", "/etc/usb_modeswitch.conf", "/etc/usbmount/**",
        "/etc/udisks2/**", "/etc/hotplug*/**", "/etc/hdparm.conf", "/etc/sane.d/**", "/etc/laptop-mode/**", "/etc/lirc/**",
        "/etc/console-setup/**", "/etc/kbd/**", "/etc/vconsole.conf", "/etc/ModemManager/**", "/etc/ofono/**", "/etc/tlp*",
        "/etc/tlp.d/**", "/etc/tuned/**", "/etc/thermald/**", "/etc/fancontrol", "/etc/sensors*", "/etc/sensors.d/**",
        "/etc/nut/**", "/etc/apcupsd/**", "/etc/UPower/**", "/etc/fwupd/**", "/etc/brltty*", "/etc/speech-dispatcher/**",
    ]).usual(),
    // By the clock.
    place("cron", "is run by the clock", &[
        "/etc/cron*", "/etc/cron*/**", "/etc/anacrontab", "/var/spool/cron/**", "/var/spool/at/**", "/var/spool/atjobs/**",
        "/var/spool/anacron/**", "/etc/periodic/**",
        "/etc/at.allow", "/etc/at.deny", "/etc/incron*", "/etc/incron.d/**", "/var/spool/incron/**",
    ]),
    place("log-rotation", "may run commands each day", &["/etc/logrotate.conf", "/etc/logrotate.d/**"]).usual(),
    // By shells and logins.
    place("shells", "is run by each shell", &[
        "/etc/profile", "/etc/profile.d/**", "/etc/bash*", "/etc/bash_completion.d/**", "/etc/bash.*/**", "/etc/zsh/**",
        "/etc/zsh*", "/etc/zprofile", "/etc/zlog*", "/etc/csh*", "/etc/csh/**", "/etc/fish/**", "/etc/ksh*", "/etc/mksh*",
        "/etc/inputrc", "/etc/screenrc", "/etc/tmux.conf", "/etc/suid_profile",
    ]),
    place("shells-of-packages", "is run by shells", &[
        "/usr/share/bash-completion/**", "/usr/share/zsh/**", "/usr/share/fish/**", "/usr/share/defaults/**",
    ]).usual(),
    place("skeleton", "is copied into each new home, where shells run it", &["/etc/skel/**"]),
    place("login-messages", "is run at each login", &[
        "/etc/update-motd.d/**", "/usr/share/update-motd.d/**", "/usr/lib/update-motd.d/**", "/usr/lib/ubuntu-advantage/**",
    ]),
    place("home-start-up", "is run or obeyed by what its user starts", &[
        // Whatever begins with a dot: each program has its own, and nobody knows all of them.
        "/home/*/.*", "/home/*/.*/**", "/home/*/bin/**",
        "/etc/vim/**", "/etc/neovim/**", "/etc/emacs*/**", "/etc/nanorc", "/etc/gitconfig", "/etc/gdb/**", "/etc/lesskey", "/etc/sysless",
        "/etc/mailcap*", "/etc/wgetrc", "/etc/curlrc", "/etc/terminfo/**", "/etc/mercurial/**", "/etc/subversion/**",
        "/etc/R/**", "/etc/octave*", "/etc/julia/**", "/etc/ghc/**", "/etc/guile*/**", "/etc/maven/**", "/etc/my.cnf",
        "/etc/my.cnf.d/**", "/etc/ImageMagick*/**", "/etc/ghostscript/**", "/etc/texmf/**", "/etc/man_db.conf",
        "/etc/manpath.config", "/etc/byobu/**", "/etc/mc/**", "/etc/valgrindrc", "/etc/sqlite3rc", "/etc/devscripts.conf",
        "/etc/pbuilderrc", "/etc/schroot/**", "/etc/sbuild/**", "/etc/procmailrc", "/etc/fetchmailrc", "/etc/wvdial.conf",
    ]).anywhere(&[
        // The homes of services.
        "/var/lib/*/.*", "/var/lib/*/.*/**", "/var/www/.*", "/var/www/.*/**",
    ]),
    place("root-home", "is in root's own home", &["/root/**"]),
    place("graphical-sessions", "is run when somebody logs in at a screen", &[
        "/etc/X11/**", "/etc/xdg/**", "/etc/lightdm/**", "/etc/gdm*/**", "/etc/sddm*", "/etc/sddm*/**",
        "/etc/greetd/**", "/etc/labwc/**", "/etc/wayfire/**", "/etc/sway/**", "/etc/lxdm/**", "/etc/nodm*", "/etc/dconf/**",
        "/etc/slim.conf", "/etc/xprofile", "/etc/guest-session/**", "/etc/wayland-sessions/**", "/etc/chromium*/**",
        "/etc/firefox*/**", "/etc/thunderbird/**", "/etc/libreoffice/**", "/etc/opt/**",
        "/usr/local/share/xsessions/**", "/usr/local/share/wayland-sessions/**", "/usr/local/share/applications/**",
    ]),
    place("graphical-sessions-of-packages", "is run when somebody logs in at a screen, or on a click", &[
        "/usr/share/xsessions/**", "/usr/share/wayland-sessions/**", "/usr/share/applications/**", "/usr/share/lightdm/**",
        "/usr/share/X11/**", "/usr/share/gdm/**", "/usr/share/gnome/autostart/**", "/usr/share/xdg/**", "/usr/share/autostart/**",
        "/usr/share/glib-2.0/**", "/usr/share/thumbnailers/**", "/usr/share/sddm/**", "/usr/share/gvfs/**", "/usr/share/plasma/**",
        "/usr/share/kservices5/**", "/usr/share/kglobalaccel/**", "/usr/share/gnome-shell/**", "/usr/share/cinnamon/**",
        "/usr/share/nautilus-python/**", "/usr/share/session-migration/**", "/usr/share/mozilla/**", "/usr/share/chromium/**",
        "/usr/share/wireplumber/**",
    ]).usual(),
    // By requests and events.
    place("d-bus", "is started by a request over D-Bus, or says who may make one", &[
        "/etc/dbus-1/**", "/usr/local/share/dbus-1/**", "/home/*/.local/share/dbus-1/**",
    ]),
    place("d-bus-of-packages", "is started by a request over D-Bus, or says who may make one", &["/usr/share/dbus-1/**"]).usual(),
    place("network-hooks", "is run when the network changes", &[
        "/etc/NetworkManager/dispatcher.d/**", "/usr/lib/NetworkManager/**", "/etc/networkd-dispatcher/**",
        "/usr/lib/networkd-dispatcher/**", "/etc/network/**", "/etc/dhcp/**", "/etc/dhcp3/**", "/etc/dhcpcd*", "/etc/dhcpcd*/**",
        "/usr/lib/dhcpcd/**", "/usr/share/dhcpcd/**", "/etc/udhcpc/**", "/etc/udhcpd.conf", "/etc/ppp/**", "/etc/chatscripts/**",
        "/etc/resolvconf/**", "/etc/resolvconf.conf", "/usr/lib/resolvconf/**", "/etc/wpa_supplicant/**", "/etc/openvpn/**",
        "/etc/wireguard/**", "/etc/vpnc/**", "/etc/ipsec*", "/etc/strongswan*", "/etc/avahi/**", "/etc/hostapd/**",
        "/etc/dnsmasq.conf", "/etc/dnsmasq.d/**", "/etc/keepalived/**", "/etc/ifplugd/**", "/etc/wicd/**", "/etc/chrony/**",
    ]),
    place("daemons", "says what a daemon runs or loads", &[
        "/etc/inetd.conf", "/etc/inetd.d/**", "/etc/xinetd.conf", "/etc/xinetd.d/**", "/etc/rsyslog.conf", "/etc/rsyslog.d/**",
        "/etc/syslog-ng/**", "/etc/fail2ban/**", "/etc/monit/**", "/etc/monitrc", "/etc/watchdog.conf", "/etc/watchdog.d/**",
        "/etc/smartd.conf", "/etc/smartmontools/**", "/etc/mdadm/**", "/etc/lvm/**", "/etc/multipath*", "/etc/snmp/**",
        "/etc/aliases", "/etc/aliases.db", "/etc/exim4/**", "/etc/postfix/**", "/etc/mail/**", "/etc/msmtprc", "/etc/docker/**",
        "/var/lib/docker/**", "/etc/containerd/**", "/etc/containers/**", "/var/lib/containers/**", "/etc/cni/**", "/etc/rancher/**",
        "/etc/kubernetes/**", "/etc/supervisor/**", "/etc/supervisord.conf", "/etc/apache2/**", "/etc/nginx/**", "/etc/lighttpd/**",
        "/etc/php/**", "/etc/mysql/**", "/etc/postgresql/**", "/etc/redis/**", "/etc/mosquitto/**", "/etc/salt/**", "/etc/puppet/**",
        "/etc/ansible/**", "/etc/zabbix/**", "/etc/collectd/**", "/etc/telegraf/**", "/etc/prometheus/**", "/etc/bluetooth/**",
        "/etc/cups/**", "/etc/audit/**", "/etc/audisp/**", "/etc/libaudit.conf", "/etc/sysstat/**", "/etc/earlyoom*",
        "/etc/gpsd*", "/etc/motion/**", "/etc/tor/**",
        "/etc/frr/**", "/etc/bird/**", "/etc/unbound/**", "/etc/bind/**", "/etc/stunnel/**", "/etc/haproxy/**", "/etc/squid/**",
        "/etc/dovecot/**", "/etc/opendkim*", "/etc/rabbitmq/**", "/etc/grafana/**", "/etc/influxdb/**", "/etc/uwsgi/**",
        "/etc/gunicorn.d/**", "/etc/rsyncd.conf", "/etc/nodered/**", "/etc/homeassistant/**", "/etc/octoprint/**",
        "/etc/pihole/**", "/etc/nfs.conf", "/etc/nfs.conf.d/**", "/etc/idmapd.conf", "/etc/fuse.conf", "/etc/libvirt/**",
        "/etc/lxc/**", "/var/lib/lxc/**", "/etc/cdi/**", "/usr/share/containers/**", "/etc/qemu*/**", "/etc/vmware-tools/**",
        "/etc/netplug*/**", "/etc/apport/**", "/etc/abrt/**", "/etc/kdump/**", "/etc/borgmatic/**", "/etc/bacula/**",
        "/etc/icecast2/**", "/etc/asterisk/**", "/etc/ros/**", "/etc/avrdude.conf",
    ]).usual(),
    place("network", "decides with which machines it talks", &[
        "/etc/NetworkManager/**", "/etc/systemd/network/**", "/usr/lib/systemd/network/**", "/etc/netplan/**", "/etc/hosts",
        "/etc/hosts.allow", "/etc/hosts.deny", "/etc/gai.conf", "/etc/host.conf", "/etc/nftables*", "/etc/nftables.d/**",
        "/etc/iptables/**", "/etc/ufw/**", "/etc/firewalld/**", "/etc/iwd/**", "/var/lib/iwd/**", "/var/lib/NetworkManager/**",
        "/var/lib/bluetooth/**", "/etc/proxychains*", "/etc/resolv.conf", "/etc/host.aliases", "/etc/ethers",
        "/etc/iproute2/**", "/etc/systemd/resolved.conf", "/etc/systemd/timesyncd.conf",
    ]).ranked(Risk::Medium).usual(),
    // Programs and what interpreters load.
    place("first-in-path", "comes first where programs are looked for", &[
        "/usr/local/bin/**", "/usr/local/sbin/**", "/usr/local/games/**",
    ]),
    place("interpreters", "is loaded by every program of its language", &[
        "/usr/lib/python*/sitecustomize*", "/usr/lib/python*/usercustomize*", "/usr/lib/python*/*/sitecustomize*",
        "/usr/lib/python*/*/usercustomize*", "/usr/lib/python*/*/*.pth", "/etc/python*/**", "/usr/local/lib/python*/**",
        "/etc/perl/**", "/usr/local/lib/site_perl/**", "/usr/local/lib/*/perl/**", "/usr/local/lib/*/perl5/**",
        "/usr/local/share/perl/**", "/usr/local/lib/site_ruby/**", "/usr/local/lib/node_modules/**", "/usr/local/share/lua/**",
        "/usr/local/lib/lua/**", "/etc/java*/**", "/etc/pip.conf", "/etc/npmrc", "/etc/gemrc", "/etc/ruby*/**", "/etc/tcl*/**",
    ]).anywhere(&["/**/sitecustomize.py", "/**/usercustomize.py", "/**/site-packages/*.pth", "/**/dist-packages/*.pth"]),
    place("interpreters-of-packages", "is loaded by programs of its language", &[
        "/usr/lib/python*/**", "/usr/share/python*/**", "/usr/share/perl*/**", "/usr/lib/perl*/**", "/usr/lib/*/perl*/**",
        "/usr/share/nodejs/**", "/usr/share/lua/**", "/usr/lib/ruby/**", "/usr/share/rubygems*/**", "/usr/share/tcltk/**",
        "/usr/share/java/**", "/usr/share/gdb/**", "/usr/share/vim/**", "/usr/share/emacs/**", "/usr/share/php/**",
        "/usr/share/nvim/**", "/usr/share/guile/**", "/usr/share/octave/**", "/usr/share/R/**", "/usr/share/node_modules/**",
        "/usr/share/npm/**", "/usr/share/maven/**", "/usr/share/groovy/**", "/usr/share/ansible/**", "/usr/share/awk/**",
        "/usr/share/git-core/**", "/usr/share/byobu/**", "/usr/share/bcc/**", "/usr/share/mdadm/**", "/usr/share/netplan/**",
        "/usr/share/command-not-found/**", "/usr/share/needrestart/**", "/usr/share/adduser/**", "/usr/share/base-files/**",
    ]).usual(),
    place("local-libraries", "is found before what packages bring", &[
        "/usr/local/lib/**", "/usr/local/lib64/**", "/usr/local/libexec/**", "/usr/local/etc/**", "/usr/local/share/vim/**",
        "/usr/local/share/nvim/**", "/usr/local/share/emacs/**", "/usr/local/share/fish/**", "/usr/local/share/zsh/**",
        "/usr/local/share/bash-completion/**", "/usr/local/share/perl5/**", "/usr/local/share/awk/**",
        "/usr/local/share/containers/**", "/usr/local/share/vulkan/**", "/usr/local/share/glib-2.0/**",
        "/usr/local/share/gvfs/**", "/usr/local/share/thumbnailers/**", "/usr/local/share/autostart/**",
        "/usr/local/share/plasma/**", "/usr/local/share/gnome-shell/**",
    ]),
    place("programs", "is a program that everybody runs", &["/usr/bin/**", "/usr/sbin/**", "/usr/games/**"]).usual(),
    place("libraries", "is loaded or run by programs", &[
        "/usr/lib/**", "/usr/lib32/**", "/usr/lib64/**", "/usr/libx32/**", "/usr/libexec/**",
    ]).usual(),
];

#[cfg(test)]
mod tests;
