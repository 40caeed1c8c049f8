//! The medium itself: a small FAT image, made in memory, the same for the same files.

use std::io::{Cursor, Write};

use fatfs::{
    Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume,
};

use super::SeedError;

/// What cloud-init looks for.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// A CD-ROM drive has sectors of 2048 bytes, and Linux mounts no FAT with smaller ones on it.
const SECTOR: usize = 2048;

/// Sectors beside the files': one reserved, two FATs and the root directory, which has room for 64
/// entries (a long name takes three).
const OVERHEAD: usize = 4;
const ROOT_ENTRIES: u16 = 64;

/// The image's size is a multiple of this many sectors (64 KiB).
const STEP: usize = 32;

/// Far more than anybody tells a guest; one FAT of one sector holds it all.
const LIMIT: usize = 2 << 20;

/// Any number: it must be the same each time.
const VOLUME_ID: u32 = 0x0f2e_e401;

/// The beginning of FAT's time, for all times.
#[derive(Debug)]
struct Beginning;

impl TimeProvider for Beginning {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        let time = Time { hour: 0, min: 0, sec: 0, millis: 0 };
        DateTime { date: self.get_current_date(), time }
    }
}

/// Returns an image with these files in its root.
pub(super) fn seed_image(files: &[(&str, &[u8])]) -> Result<Vec<u8>, SeedError> {
    let bytes = files.iter().map(|(_, content)| content.len()).sum();
    if bytes > LIMIT {
        return Err(SeedError::Large { bytes, limit: LIMIT });
    }
    let content: usize = files.iter().map(|(_, content)| content.len().div_ceil(SECTOR)).sum();
    let sectors = (OVERHEAD + content).next_multiple_of(STEP);
    let mut image = vec![0; sectors * SECTOR];
    fill(&mut image, files).map_err(SeedError::Medium)?;
    Ok(image)
}

fn fill(image: &mut [u8], files: &[(&str, &[u8])]) -> std::io::Result<()> {
    let options = FormatVolumeOptions::new()
        .bytes_per_sector(2048)
        .bytes_per_cluster(2048)
        .max_root_dir_entries(ROOT_ENTRIES)
        .volume_id(VOLUME_ID)
        .volume_label(LABEL);
    let mut disk = Cursor::new(image);
    format_volume(&mut disk, options)?;
    let system = FileSystem::new(disk, FsOptions::new().time_provider(&Beginning))?;
    for (name, content) in files {
        let mut file = system.root_dir().create_file(name)?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
    }
    system.unmount()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use fatfs::FatType;

    use super::*;

    fn read_back(mut image: Vec<u8>) -> Vec<(String, Vec<u8>)> {
        let system = FileSystem::new(Cursor::new(&mut image), FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "CIDATA");
        assert_eq!(system.read_volume_label_from_root_dir().unwrap().unwrap(), "CIDATA");
        assert_eq!(system.fat_type(), FatType::Fat12);
        let entries: Vec<_> = system.root_dir().iter().map(Result::unwrap).collect();
        entries
            .into_iter()
            .map(|entry| {
                let mut content = Vec::new();
                entry.to_file().read_to_end(&mut content).unwrap();
                (entry.file_name(), content)
            })
            .collect()
    }

    #[test]
    fn reads_back_what_it_was_given() {
        for length in [0, 1, SECTOR, 50_000, LIMIT - 3] {
            let large: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let files: [(&str, &[u8]); 3] =
                [("meta-data", b"a"), ("network-config", b"bc"), ("user-data", &large)];
            let image = seed_image(&files).unwrap();
            assert_eq!(image.len() % (STEP * SECTOR), 0);
            assert!(image.len() <= length + 2 * STEP * SECTOR, "{length}: {}", image.len());
            let found = read_back(image);
            assert_eq!(found.len(), 3);
            for ((name, content), (wanted, bytes)) in found.iter().zip(files) {
                assert_eq!((name.as_str(), content.as_slice()), (wanted, bytes));
            }
        }
    }

    #[test]
    fn is_the_same_each_time() {
        let files: [(&str, &[u8]); 1] = [("user-data", b"x")];
        assert_eq!(seed_image(&files).unwrap(), seed_image(&files).unwrap());
        assert_eq!(seed_image(&files).unwrap().len(), 64 << 10);
    }

    #[test]
    fn refuses_what_belongs_on_a_disk() {
        let error = seed_image(&[("user-data", &vec![0; LIMIT + 1])]).unwrap_err();
        assert!(matches!(error, SeedError::Large { .. }));
    }
}
