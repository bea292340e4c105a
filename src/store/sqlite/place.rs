//! Whether a folder lies on a network file system, where SQLite's locks and shared memory are not to be trusted.

use std::path::Path;

use crate::store::{StoreError, StoreResult};

/// Types of network and cluster file systems, as `/proc/self/mountinfo` names them; `fuse.` is stripped first.
const NETWORK_TYPES: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "sshfs",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "davfs",
    "davfs2",
    "ncpfs",
    "rclone",
    "s3fs",
];

/// Refuses a folder on a network file system. Where the system does not tell (not Linux), everything is taken.
pub(super) fn refuse_network(folder: &Path) -> StoreResult<()> {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match file_system(&mounts, &folder) {
        Some(kind) if is_network(kind) => Err(StoreError::Unusable(format!(
            "{} lies on a network file system ({kind}), where SQLite loses data; choose a local folder with --data",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

fn is_network(kind: &str) -> bool {
    NETWORK_TYPES.contains(&kind.strip_prefix("fuse.").unwrap_or(kind))
}

/// The type of the file system that holds `folder`: that of its longest mount point; of equals, the last one mounted.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = unescape(left.split(' ').nth(4)?);
            folder.starts_with(&point).then(|| Some((point.len(), right.split(' ').next()?)))?
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

/// Mount points write space, tab, newline and backslash as three octal digits.
fn unescape(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:40 / /mnt rw shared:1 - nfs4 host:/export rw
41 40 254:1 / /mnt/local\\040disk rw - xfs /dev/vdb rw
42 22 0:42 / /home/ann/remote rw - fuse.sshfs ann@host: rw
43 22 0:43 / /over rw - nfs host:/a rw
44 43 254:2 / /over rw - ext4 /dev/vdc rw";

    #[test]
    fn the_longest_mount_point_decides() {
        for (folder, kind) in [
            ("/srv/leadflow-data", "ext4"),
            ("/mnt/leadflow-data", "nfs4"),
            ("/mnt2/leadflow-data", "ext4"),
            ("/mnt/local disk/data", "xfs"),
            ("/home/ann/remote/x", "fuse.sshfs"),
            ("/over/x", "ext4"),
        ] {
            assert_eq!(file_system(MOUNTS, Path::new(folder)), Some(kind), "{folder}");
        }
    }

    #[test]
    fn network_file_systems_are_known_by_type() {
        assert!(["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"].into_iter().all(is_network));
        assert!(!["ext4", "xfs", "btrfs", "overlay", "tmpfs", "apfs"].into_iter().any(is_network));
    }
}
