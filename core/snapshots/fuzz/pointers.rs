//! Pointers: nothing makes the reader panic, what it reads is written back to the same, and no pointer leads out
//! of the folder of objects.

#![no_main]

use flipt_fuzz::format::Pointer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(pointer) = Pointer::parse(bytes) else { return };
    if let Ok(object) = pointer.readable() {
        let leads_out = object.path.split('/').any(|element| element == "..");
        assert!(object.path.starts_with("objects/") && !leads_out, "{}", object.path);
    }
    if let Ok(written) = pointer.to_bytes() {
        assert_eq!(Pointer::parse(&written).as_ref(), Ok(&pointer));
    }
});
