//! A disk under SQLite that counts, fills up, and can lose its power.
//!
//! It stands between SQLite and the system's files as the default file system of this process (a VFS whose `xOpen` gives
//! each file a changed copy of its method table) and knows each test's folder apart. Nothing is really synchronised: what
//! would have been is remembered, so that [`Disk::after_power_cut`] gives the files as a disk has them that kept nothing
//! else.
//!
//! Contract of the `unsafe` here: SQLite calls these functions with the files it opened through them; method tables and
//! the VFS are leaked and live as long as the process; the originals are called with the very arguments that came.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use libsqlite3_sys as ffi;

/// What is known of the disk below one folder.
#[derive(Default)]
struct State {
    writes: u64,
    syncs: u64,
    /// Writes until it is full; `None`: there is room.
    room: Option<u64>,
    /// Each file as it was when it was last on disk.
    kept: BTreeMap<PathBuf, Vec<u8>>,
}

#[derive(Default)]
struct Known {
    disks: BTreeMap<PathBuf, State>,
    /// Open files, by the address of SQLite's handle.
    files: HashMap<usize, PathBuf>,
    /// Changed method tables, by the address of the original.
    tables: HashMap<usize, &'static ffi::sqlite3_io_methods>,
}

impl Known {
    fn disk(&mut self, file: *mut ffi::sqlite3_file) -> Option<(&Path, &mut State)> {
        let path = self.files.get(&(file as usize))?;
        let state = self.disks.get_mut(path.parent()?)?;
        Some((path, state))
    }
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The system's VFS, as an address.
static BELOW_VFS: OnceLock<usize> = OnceLock::new();

/// Methods that are stood before; they are the same for all files of the system.
static BELOW: OnceLock<Below> = OnceLock::new();

#[derive(Clone, Copy)]
struct Below {
    write: unsafe extern "C" fn(*mut ffi::sqlite3_file, *const c_void, c_int, i64) -> c_int,
    map: Map,
}

type Map =
    unsafe extern "C" fn(*mut ffi::sqlite3_file, c_int, c_int, c_int, *mut *mut c_void) -> c_int;

/// The disk below a folder.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Stands below a folder from now on.
    pub(crate) fn under(folder: &Path) -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(register);
        let folder = folder.canonicalize().unwrap();
        known().disks.insert(folder.clone(), State::default());
        Self { folder }
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(known().disks.get_mut(&self.folder).unwrap())
    }

    /// From now on so many writes find room, and none after them.
    pub(crate) fn fills_after(&self, writes: u64) {
        self.state(|state| state.room = Some(writes));
    }

    /// Somebody made room. Tells whether it had been full.
    pub(crate) fn has_room_again(&self) -> bool {
        self.state(|state| state.room.take() == Some(0))
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> u64 {
        self.state(|state| state.writes)
    }

    /// How often SQLite waited for the disk so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.state(|state| state.syncs)
    }

    /// Puts the files into another folder as they are when everything is lost that SQLite did not wait for.
    pub(crate) fn after_power_cut(&self, to: &Path) {
        let kept = self.state(|state| state.kept.clone());
        for (path, bytes) in kept {
            std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        known().disks.remove(&self.folder);
    }
}

fn register() {
    // SAFETY: the system's VFS lives as long as the process, and so does our changed copy of it, which is leaked.
    unsafe {
        assert_eq!(ffi::sqlite3_initialize(), ffi::SQLITE_OK);
        let below = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut ours = *below;
        ours.zName = c"watched".as_ptr();
        ours.pNext = std::ptr::null_mut();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        BELOW_VFS.set(below as usize).unwrap();
        let ours = Box::leak(Box::new(ours));
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
    }
}

fn below_vfs() -> *mut ffi::sqlite3_vfs {
    *BELOW_VFS.get().unwrap() as *mut ffi::sqlite3_vfs
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let below = below_vfs();
    // SAFETY: the arguments are SQLite's, for its own VFS; an opened file has a method table that lives on.
    unsafe {
        let done = ((*below).xOpen.unwrap())(below, name, file, flags, out);
        if done != ffi::SQLITE_OK || name.is_null() || (*file).pMethods.is_null() {
            return done;
        }
        let path = PathBuf::from(CStr::from_ptr(name).to_str().unwrap());
        let mut known = known();
        let original = (*file).pMethods;
        BELOW.get_or_init(|| Below {
            write: (*original).xWrite.unwrap(),
            map: (*original).xShmMap.unwrap(),
        });
        let changed = known.tables.entry(original as usize).or_insert_with(|| {
            let mut methods = *original;
            methods.xWrite = Some(write);
            methods.xSync = Some(sync);
            methods.xShmMap = Some(map);
            Box::leak(Box::new(methods))
        });
        (*file).pMethods = *changed;
        known.files.insert(file as usize, path);
        done
    }
}

/// SQLite waits until the folder knows that a journal is gone, so that is kept at once.
unsafe extern "C" fn delete(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync: c_int,
) -> c_int {
    let below = below_vfs();
    // SAFETY: the arguments are SQLite's, for its own VFS; the name ends with a zero.
    let (done, path) = unsafe {
        let done = ((*below).xDelete.unwrap())(below, name, sync);
        (done, PathBuf::from(CStr::from_ptr(name).to_str().unwrap()))
    };
    let folder = path.parent().unwrap_or(&path);
    if let Some(state) = known().disks.get_mut(folder) {
        state.kept.remove(&path);
    }
    done
}

fn below() -> Below {
    *BELOW.get().unwrap()
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    let full = known().disk(file).is_some_and(|(_, state)| {
        state.writes += 1;
        match &mut state.room {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    });
    // SAFETY: the arguments are SQLite's; less than it has is written where the disk is full.
    unsafe {
        if full {
            // As much as still fits: half of it is there, and it is no use to anybody.
            (below().write)(file, bytes, amount / 2, at);
            return ffi::SQLITE_FULL;
        }
        (below().write)(file, bytes, amount, at)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let mut known = known();
    if let Some((path, state)) = known.disk(file) {
        let path = path.to_owned();
        state.syncs += 1;
        // Nobody else writes to it meanwhile: there is one connection that writes.
        state
            .kept
            .insert(path.clone(), std::fs::read(&path).unwrap());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let grows = known().disk(file).is_some_and(|(path, state)| {
        let shared = PathBuf::from(format!("{}-shm", path.display()));
        let there = std::fs::metadata(shared).map_or(0, |found| found.len());
        let wanted = u64::try_from((page + 1) * size).unwrap();
        state.room == Some(0) && extend != 0 && there < wanted
    });
    if grows {
        return ffi::SQLITE_IOERR_SHMSIZE;
    }
    // SAFETY: the arguments are SQLite's.
    unsafe { (below().map)(file, page, size, extend, out) }
}
