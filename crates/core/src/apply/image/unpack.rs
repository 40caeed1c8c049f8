//! What is published packed or raw is made plain qcow2 here, where a host cannot.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder as _, FormatDriverBuilder as _,
    Storage as _, StorageCreateOptions, file::File as Target, qcow2::Qcow2,
};

use crate::model::{ImageForm, ImageFormat, Packing, Size};

/// Holes are looked for in pieces of this size, qcow2's clusters.
const CLUSTER: usize = 64 << 10;

/// Why a file was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("it cannot be unpacked as {}", .0.word())]
    Damaged(Packing, #[source] io::Error),
    #[error("once unpacked it is larger than {}", .0.rounded())]
    Large(Size),
    #[error("it is no raw image but a qcow2 image")]
    NotRaw,
    #[error("cannot write it")]
    Write(#[source] io::Error),
}

impl UnpackError {
    /// Returns what the user can do.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(..) => "it is what its checksum says: is `compression` right?",
            Self::Large(_) => {
                "no root disk of its VMs is as large: give them more room, or is it another file?"
            }
            Self::NotRaw => "leave `format` out, or say `format = \"qcow2\"`",
            Self::Write(_) => "is there room in .freehold/cache?",
        }
    }
}

/// Makes a plain qcow2 file of a published one, which was verified.
pub(super) fn unpack(
    from: &Path,
    to: &Path,
    form: ImageForm,
    most: Size,
) -> Result<(), UnpackError> {
    let damaged = |error| UnpackError::Damaged(form.packing, error);
    let file = BufReader::with_capacity(1 << 20, File::open(from).map_err(damaged)?);
    let mut unpacked = unpacker(file, form.packing).map_err(damaged)?;
    let flat = to.with_added_extension("flat");
    let done =
        flatten(&mut unpacked, &flat, (form.packing, most)).and_then(|()| match form.format {
            ImageFormat::Qcow2 => std::fs::rename(&flat, to).map_err(UnpackError::Write),
            ImageFormat::Raw => convert(&flat, to),
        });
    drop(std::fs::remove_file(&flat));
    done
}

fn unpacker(file: BufReader<File>, packing: Packing) -> io::Result<Box<dyn Read>> {
    Ok(match packing {
        Packing::None => Box::new(file),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
    })
}

/// Fills a piece as far as there is anything.
fn fill(from: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match from.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of it to a file with holes.
fn flatten(
    from: &mut dyn Read,
    to: &Path,
    (packing, most): (Packing, Size),
) -> Result<(), UnpackError> {
    let mut file = File::create(to).map_err(UnpackError::Write)?;
    let (mut length, mut piece) = (0_u64, vec![0; CLUSTER]);
    loop {
        let read = fill(from, &mut piece).map_err(|error| UnpackError::Damaged(packing, error))?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if length > most.bytes() {
            return Err(UnpackError::Large(most));
        }
        let piece = &piece[..read];
        let written = match piece.iter().all(|byte| *byte == 0) {
            true => file.seek(SeekFrom::Start(length)).map(drop),
            false => file.write_all(piece),
        };
        written.map_err(UnpackError::Write)?;
    }
    file.set_len(length).map_err(UnpackError::Write)
}

/// Makes qcow2 of a raw image.
fn convert(from: &Path, to: &Path) -> Result<(), UnpackError> {
    let mut raw = File::open(from).map_err(UnpackError::Write)?;
    let size = raw.metadata().map_err(UnpackError::Write)?.len();
    let mut piece = vec![0; CLUSTER];
    let first = fill(&mut raw, &mut piece[..4]).map_err(UnpackError::Write)?;
    if piece[..first] == *b"QFI\xfb" {
        return Err(UnpackError::NotRaw);
    }
    let written = || -> io::Result<()> {
        raw.seek(SeekFrom::Start(0))?;
        let target = Target::create_open(StorageCreateOptions::new().filename(to).overwrite(true))?;
        // A disk has whole sectors.
        let sectors = size.div_ceil(512) * 512;
        let create = Qcow2::<Target>::create_builder(target).size(sectors);
        let open = |target| Ok(Qcow2::builder(target).backing(None).write(true));
        let image = create.create_open(DenyImplicitOpenGate::default(), open)?;
        let image = FormatAccess::new(image);
        let mut at = 0;
        loop {
            let read = fill(&mut raw, &mut piece)?;
            if read == 0 {
                break;
            }
            let whole = read.div_ceil(512) * 512;
            piece[read..whole].fill(0);
            if piece[..whole].iter().any(|byte| *byte != 0) {
                image.write(&piece[..whole], at)?;
            }
            at += whole as u64;
        }
        image.flush()?;
        image.sync()
    };
    let mut written = written;
    written().map_err(UnpackError::Write)
}
