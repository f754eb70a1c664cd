//! A program of the host that reads what strangers made.

use std::fs;
use std::path::Path;

use piimg::sandbox::host_box::HostBox;

use super::Test;

pub(super) const TESTS: [Test; 1] = [("a_program_of_the_host_reaches_its_work_alone", work)];

fn work() {
    let place = Path::new("/build/host-box");
    let work = place.join("work");
    fs::create_dir_all(&work).unwrap();
    fs::write(work.join("in"), "given").unwrap();
    {
        let host = HostBox::new(&place.join("root"), &work).unwrap();
        let script = "cat /files/in; echo; cp /files/in /files/out; chown 1:2 /files/out
            ls -d /store /build /etc/shadow /home 2>/dev/null; cat /etc/passwd /etc/group
            for place in /usr /usr/bin /lib/. /opt; do touch $place/written 2>/dev/null && echo wrote to $place; done
            (umount /usr || mount -t tmpfs none /tmp || unshare -m true) 2>/dev/null && echo has power
            cat /proc/net/dev | tail -n +3 | cut -d: -f1; env | grep -c TOKEN";
        let output = host.command(["sh", "-c", script]).run(None, &mut |_, _| {}).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "given\n    lo\n0\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata = fs::metadata(work.join("out")).unwrap();
    assert_eq!((std::os::unix::fs::MetadataExt::uid(&metadata), metadata.len()), (1, 5));
    fs::remove_dir_all(place).unwrap();
}
