#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| piimg_tests::properties::check("device_tree", data));
