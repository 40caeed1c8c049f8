//! An SSH server that means no good: it speaks the protocol as far as a test has it do, and then whatever the
//! test says. No known server does such things.

use std::{
    io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    digest::{SHA256, digest},
    error::Unspecified,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};

/// What it calls itself.
const HELLO: &str = "SSH-2.0-hostile";

/// Serves everybody who comes in the same way, until the test ends. Returns its port.
pub fn serve(act: impl Fn(&mut Wire) -> Result<()> + Copy + Send + 'static) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends when the client has had enough.
            thread::spawn(move || drop(act(&mut Wire::of(stream))));
        }
    });
    Ok(port)
}

/// Returns its host key as files of known hosts write it.
pub fn key() -> String {
    format!("ssh-ed25519 {}", STANDARD.encode(public()))
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).expect("a seed has 32 bytes")
}

fn public() -> Vec<u8> {
    [string(b"ssh-ed25519"), string(pair().public_key().as_ref())].concat()
}

/// Returns bytes with their length before them.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a test's bytes are few");
    [&length.to_be_bytes(), bytes].concat()
}

/// One client.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    keys: Option<[Seal; 2]>,
}

#[derive(Debug)]
struct Seal {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Seal {
    /// The next nonce: its last eight bytes count.
    fn next(&mut self) -> Nonce {
        let now = self.nonce;
        let (fixed, count) = now.split_at(4);
        let count = u64::from_be_bytes(count.try_into().expect("eight of twelve"));
        self.nonce[..4].copy_from_slice(fixed);
        self.nonce[4..].copy_from_slice(&count.wrapping_add(1).to_be_bytes());
        Nonce::assume_unique_for_key(now)
    }
}

impl Wire {
    fn of(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream), keys: None }
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads whatever comes, and says nothing, until the client goes.
    pub fn stare(&mut self) -> Result<()> {
        while self.stream.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }

    /// Says who it is, and returns who the client is.
    pub fn hello(&mut self) -> Result<String> {
        self.raw(format!("{HELLO}\r\n").as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Sends a packet.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        // A sealed packet's length is not sealed, so it does not count.
        let (block, around) = if self.keys.is_some() { (16, 1) } else { (8, 5) };
        let padding = 4 + (2 * block - (around + payload.len() + 4) % block) % block;
        let length =
            u32::try_from(1 + payload.len() + padding).map_err(Error::other)?.to_be_bytes();
        let pad = u8::try_from(padding).map_err(Error::other)?;
        let mut body = [&[pad], payload, &vec![0; padding]].concat();
        if let Some([ours, _]) = &mut self.keys {
            let nonce = ours.next();
            let sealed = ours.key.seal_in_place_append_tag(nonce, Aad::from(length), &mut body);
            sealed.map_err(refused)?;
        }
        self.raw(&[&length, &*body].concat())
    }

    /// Reads a packet.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let size = u32::from_be_bytes(length) as usize;
        let tag = if self.keys.is_some() { 16 } else { 0 };
        let mut body = vec![0; size + tag];
        self.stream.read_exact(&mut body)?;
        if let Some([_, theirs]) = &mut self.keys {
            let nonce = theirs.next();
            theirs.key.open_in_place(nonce, Aad::from(length), &mut body).map_err(refused)?;
        }
        let padding = usize::from(*body.first().ok_or(ErrorKind::InvalidData)?);
        Ok(body[1..size.saturating_sub(padding).max(1)].to_vec())
    }

    /// Exchanges keys; `kex` is what it offers besides.
    pub fn exchange(&mut self, kex: &str) -> Result<()> {
        let client = self.hello()?;
        let ours = kex_init(&format!("curve25519-sha256{kex}"), "ssh-ed25519");
        self.send(&ours)?;
        let theirs = self.receive()?;
        let init = self.receive()?;
        let point = init.get(5..37).ok_or(ErrorKind::InvalidData)?;
        let random = SystemRandom::new();
        let private = EphemeralPrivateKey::generate(&X25519, &random).map_err(refused)?;
        let own = private.compute_public_key().map_err(refused)?;
        let peer = UnparsedPublicKey::new(&X25519, point);
        let secret = agree_ephemeral(private, &peer, mpint).map_err(refused)?;
        let parts =
            [client.as_bytes(), HELLO.as_bytes(), &theirs, &ours, &public(), point, own.as_ref()];
        let hashed = [parts.map(string).concat(), secret.clone()].concat();
        let hash = digest(&SHA256, &hashed);
        let signature = pair().sign(hash.as_ref());
        let signature = [string(b"ssh-ed25519"), string(signature.as_ref())].concat();
        let reply = [string(&public()), string(own.as_ref()), string(&signature)].concat();
        self.send(&[&[31], &*reply].concat())?;
        self.send(&[21])?;
        let derived = |letter: u8| {
            digest(&SHA256, &[&*secret, hash.as_ref(), &[letter], hash.as_ref()].concat())
        };
        let seal = |iv, key| -> Result<Seal> {
            let key = UnboundKey::new(&AES_128_GCM, &derived(key).as_ref()[..16]);
            let nonce = derived(iv).as_ref()[..12].try_into().map_err(Error::other)?;
            Ok(Seal { key: LessSafeKey::new(key.map_err(refused)?), nonce })
        };
        let keys = [seal(b'B', b'D')?, seal(b'A', b'C')?];
        let new_keys = self.receive()?;
        self.keys = Some(keys);
        if new_keys == [21] { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// Exchanges keys as a good server would, and waits for the first key that is offered.
    pub fn asked_to_log_in(&mut self) -> Result<()> {
        self.exchange(",kex-strict-s-v00@openssh.com")?;
        self.receive()?;
        self.send(&[&[6], &*string(b"ssh-userauth")].concat())?;
        self.receive().map(drop)
    }
}

/// Returns a KEXINIT that offers this, and one of everything else.
pub fn kex_init(kex: &str, host_key: &str) -> Vec<u8> {
    let one = ["aes128-gcm@openssh.com", "hmac-sha2-256", "none"];
    let both = one.iter().flat_map(|name| [name, name]).map(|name| string(name.as_bytes()));
    let lists = [string(kex.as_bytes()), string(host_key.as_bytes())].into_iter().chain(both);
    let lists: Vec<u8> = lists.chain([vec![0; 8]]).flatten().collect();
    [vec![20], vec![7; 16], lists, vec![0; 5]].concat()
}

fn refused(_: Unspecified) -> Error {
    ErrorKind::InvalidData.into()
}

/// A number without a sign.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    string(&[sign, bytes].concat())
}
