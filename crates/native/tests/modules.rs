//! Which file is mapped where, and when it is opened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use firefinch_memory::RemoteAddr;
use firefinch_native::arch::{aarch64::AARCH64, x86_64::X86_64};
use firefinch_native::{
    BuildId, DebugPlaces, FileIdentity, Image, ImageAddress, ImageError, Library, MappedFile,
    Mapping, Modules, NameSource, ObjectBytes, Objects, Origin, Symbolizer,
};

#[derive(Default)]
struct Counted(AtomicUsize);

impl Objects for Counted {
    fn object(&self, origin: &Origin) -> Option<ObjectBytes> {
        assert_ne!(*origin, Origin::Anonymous);
        self.0.fetch_add(1, Ordering::Relaxed);
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
        let bytes = std::fs::read(captures.join("aarch64-plain.elf")).expect("recorded");
        Some(ObjectBytes::new(bytes))
    }
}

fn file(build_id: Option<BuildId>) -> Origin {
    Origin::File(MappedFile {
        path: Path::new("/lib/some.so").into(),
        device: 1,
        inode: 2,
        build_id,
    })
}

fn mapping(start: u64, origin: Origin) -> Mapping {
    Mapping {
        start: RemoteAddr::new(start),
        end: RemoteAddr::new(start + 0x1000),
        offset: 0,
        origin,
    }
}

fn address(modules: &Modules, addr: u64) -> Option<u64> {
    let located = modules.locate(RemoteAddr::new(addr))?;
    located.address.map(ImageAddress::get)
}

/// A file mapped twice is opened once, at its first use, has a load bias at each place, and stays open when the mappings change; of mappings that overlap the first counts.
#[test]
fn opened_once() {
    let objects = Arc::new(Counted::default());
    let mappings = vec![
        mapping(0x7000_0000, file(None)),
        mapping(0x5000_0000, file(None)),
        mapping(0x5000_0800, Origin::Anonymous),
        mapping(0x9000_0000, Origin::Anonymous),
    ];
    let modules = Modules::new(&AARCH64, mappings, objects.clone());
    assert!(modules.is_code(RemoteAddr::new(0x5000_0fff)));
    assert!(!modules.is_code(RemoteAddr::new(0x5000_1000)));
    assert_eq!(objects.0.load(Ordering::Relaxed), 0);
    assert_eq!(address(&modules, 0x5000_0010), Some(0x40_0010));
    assert_eq!(address(&modules, 0x7000_0fff), Some(0x40_0fff));
    assert_eq!(address(&modules, 0x9000_0000), None);
    assert_eq!(address(&modules, 0x6000_0000), None);
    let modules = modules.updated(vec![mapping(0x3000_0000, file(None))]);
    assert_eq!(address(&modules, 0x3000_0001), Some(0x40_0001));
    assert_eq!(objects.0.load(Ordering::Relaxed), 1);
}

/// Files of one target, by path; each is the file of that identity.
struct Shared {
    library: Arc<Library>,
    identity: Option<FileIdentity>,
}

impl Objects for Shared {
    fn object(&self, origin: &Origin) -> Option<ObjectBytes> {
        let bytes = Counted::default().object(origin)?;
        Some(match self.identity {
            Some(identity) => bytes.of_file(identity),
            None => bytes,
        })
    }

    fn library(&self) -> Option<&Library> {
        Some(&self.library)
    }
}

/// Targets that have the same file mapped share what is known of it, while one of them lives; another file, another state of it, and bytes that are of no file are not shared, whatever their path.
#[test]
fn shared() {
    let library = Arc::<Library>::default();
    let target = |identity| {
        let library = Arc::clone(&library);
        let objects = Arc::new(Shared { library, identity });
        let modules = Modules::new(&AARCH64, vec![mapping(0x5000_0000, file(None))], objects);
        let located = modules.locate(RemoteAddr::new(0x5000_0000));
        let image = located.expect("mapped").module;
        let image = image.image(modules.objects(), &AARCH64);
        let image = Arc::clone(image.expect("sound"));
        (modules, image)
    };
    let same = |one: &(_, Arc<Image>), other: &(_, _)| Arc::ptr_eq(&one.1, &other.1);
    let identity = FileIdentity {
        device: 1,
        inode: 2,
        changed: (3, 4),
    };
    let first = target(Some(identity));
    assert!(same(&first, &target(Some(identity))));
    let inode = FileIdentity {
        inode: 3,
        ..identity
    };
    let device = FileIdentity {
        device: 3,
        ..identity
    };
    let later = FileIdentity {
        changed: (3, 5),
        ..identity
    };
    for other in [Some(inode), Some(device), Some(later), None] {
        assert!(!same(&first, &target(other)));
    }
    assert!(!same(&target(None), &target(None)));
    let known = Arc::downgrade(&first.1);
    drop(first);
    assert!(known.upgrade().is_none());
}

/// A file that is not the one that was mapped, or is for another processor, says nothing; its addresses still have a name that is the same in every run.
#[test]
fn not_believed() {
    let objects = Arc::new(Counted::default());
    let mapped = vec![mapping(0x7000_0000, file(BuildId::new(&[1; 20])))];
    for (arch, expected) in [
        (&AARCH64, ImageError::OtherBuildId),
        (&X86_64, ImageError::OtherMachine),
    ] {
        let modules = Modules::new(arch, mapped.clone(), objects.clone());
        let located = modules
            .locate(RemoteAddr::new(0x7000_0000))
            .expect("mapped");
        let image = located.module.image(&*objects, arch);
        assert_eq!(image.map(|_| ()), Err(expected));
        assert_eq!(located.address, None);
        let mut symbolizer = Symbolizer::new(arch, DebugPlaces::default());
        let found = symbolizer.resolve(located.module, located.address, &*objects);
        assert_eq!(
            (&*found[0].name, found[0].source),
            ("some.so", NameSource::Nothing)
        );
    }
}
