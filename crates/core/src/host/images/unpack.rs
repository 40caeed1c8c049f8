//! What is published packed or raw is made plain qcow2 on the host, where that has the tools.

use sha2::Digest as _;

use super::{
    Finished, Images, refused,
    scripts::{
        CHANGED, DAMAGED, LARGE, NAME, NO_ROOM, NOT_RAW, NOT_WRITTEN, NOTHING, TOOLS, UNPACK, WRONG,
    },
};
use crate::{
    host::{
        Progress,
        command::Command,
        files::done,
        qcow2::{HEADER_LENGTH, Header},
        ssh::Stdin,
        transport::Output,
        trouble::Trouble,
    },
    model::{ImageForm, ImageFormat, ImageSpec, Packing, hex_of},
};

impl Images {
    /// Says whether the host has the tools for it.
    pub(crate) async fn unpacks(&self, form: ImageForm) -> Result<bool, Trouble> {
        let convert = if form.format == ImageFormat::Raw { "qemu-img" } else { "" };
        let tools = format!("{} {convert}", program(form.packing));
        let command = Command::new(TOOLS, [tools.as_str()])?;
        Ok(self.transport.run(&command, Stdin::Nothing, self.deadline).await?.code == 0)
    }

    /// Unpacks what came, checks it, and gives it its name.
    pub(super) async fn unpack(
        &self,
        spec: &ImageSpec,
        progress: &Progress,
    ) -> Result<Finished, Trouble> {
        let (length, most) = (HEADER_LENGTH.to_string(), spec.most.bytes().to_string());
        let format = if spec.form.format == ImageFormat::Raw { "raw" } else { "qcow2" };
        let (kind, want) = (spec.checksum.kind(), spec.checksum.hex());
        let tool = program(spec.form.packing);
        loop {
            let how = (Stdin::Nothing, self.long_deadline);
            let words = (UNPACK, [kind, want, tool, format, &most, &length]);
            let Some(output) = self.alone(spec, words, how, progress).await? else {
                return Ok(Finished::Named);
            };
            match output.code {
                0 => {}
                NOTHING => return Ok(Finished::Nothing),
                WRONG => {
                    let have = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                    return Ok(Finished::Wrong(have));
                }
                _ => {
                    self.remove(spec).await;
                    return Err(trouble(spec, &output));
                }
            }
            if let Err(error) = Header::of_image(&output.stdout) {
                self.remove(spec).await;
                return Err(refused(error));
            }
            let seen = hex_of(&sha2::Sha256::digest(&output.stdout));
            let words = (NAME, [seen.as_str(), &length]);
            let Some(output) = self.alone(spec, words, how, progress).await? else {
                return Ok(Finished::Named);
            };
            if output.code != CHANGED {
                return done(&output).map(|()| Finished::Named);
            }
        }
    }
}

/// The program that unpacks it.
fn program(packing: Packing) -> &'static str {
    match packing {
        Packing::None => "",
        packing => packing.word(),
    }
}

fn trouble(spec: &ImageSpec, output: &Output) -> Trouble {
    match output.code {
        NO_ROOM => super::no_room(None),
        LARGE => Trouble::input(format!("once unpacked it is larger than {}", spec.most.rounded()))
            .hint(
                "no root disk of its VMs is as large: give them more room, or is it another file?",
            ),
        NOT_WRITTEN => Trouble::failed("what it unpacks to cannot be written in the pool")
            .after(&output.complaint())
            .hint("has its file system room, and the SSH user a quota there?"),
        DAMAGED => {
            let why = format!("it cannot be unpacked as {}", spec.form.packing.word());
            Trouble::input(why)
                .after(&output.complaint())
                .hint("it is what its checksum says: is `compression` right?")
        }
        NOT_RAW => Trouble::input("it is no raw image but a qcow2 image")
            .hint("leave `format` out, or say `format = \"qcow2\"`"),
        _ => output.trouble(),
    }
}
