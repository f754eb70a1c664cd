# Runs "$@" as its users have it: with qemu-user registered, as installing qemu-user-static does, and with the network. In a
# user namespace with root's own ids, whose binfmt_misc (Linux 6.7), mounts and network are its own, so that nothing of it is
# on the host: systemd-nspawn may mount a sysfs where the network belongs to the namespace, and debootstrap, told that it is
# in such a container, makes no device nodes.
set -e
mkfifo entered connected
unshare --user --mount --net sh -ec '
    read -r _ <entered
    # As systemd-nspawn wants it, whatever the host has there.
    test "$(stat --file-system --format=%T /run)" = tmpfs || mount -t tmpfs run /run
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    for emulator in /usr/lib/binfmt.d/qemu-*.conf; do
        cat "$emulator" >/proc/sys/fs/binfmt_misc/register
    done
    export container=lxc
    exec "$@"
' sh "$@" &
inside=$!
until [ "$(readlink /proc/$inside/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for ids in uid_map gid_map; do echo "0 0 65536" >/proc/$inside/$ids; done
slirp4netns --configure --mtu=65520 --ready-fd=3 $inside tap0 3>connected >slirp4netns.log 2>&1 &
network=$!
read -r _ <connected || test -e /proc/$network || { cat slirp4netns.log >&2; exit 1; }
echo >entered
status=0
wait $inside || status=$?
kill $network
exit $status
