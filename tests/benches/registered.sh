# Runs "$@" as its users have it: with qemu-user registered, as installing qemu-user-static does. On the host itself, for
# systemd-nspawn, which debos and mkosi start, mounts what a user namespace may not. The registration has a name of its own and
# is withdrawn at the end; piimg's own namespaces never see it. https://docs.kernel.org/admin-guide/binfmt-misc.html
set -e
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
entry=/proc/sys/fs/binfmt_misc/piimg-bench-aarch64
withdraw() { test ! -e $entry || echo -1 >$entry; }
trap withdraw EXIT
trap 'exit 1' HUP INT TERM
# One that was killed has left it there.
withdraw
sed 's/^:[^:]*:/:piimg-bench-aarch64:/' /usr/lib/binfmt.d/qemu-aarch64.conf >/proc/sys/fs/binfmt_misc/register
# As systemd-nspawn wants it, whatever the host has there.
test "$(stat --file-system --format=%T /run)" = tmpfs || mount -t tmpfs run /run
"$@"
