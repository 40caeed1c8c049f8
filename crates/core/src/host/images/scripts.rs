//! What a host is told to do with images; each script is one command.
//!
//! An image comes under a hidden name of its own, `.staging-` and the name it will have: whoever brings
//! the same digest goes on with what is there, whichever fleet or run began it. Who works on it holds
//! a lock on that very file, which ends with the last process that has it open, whatever becomes of us.
//! Where there is no lock (no `flock`, some network file systems) nothing is begun: two at once might
//! go on writing what was checked.

/// The image has its name already.
pub(super) const THERE: u32 = 43;
/// Somebody else works on it.
pub(super) const BUSY: u32 = 75;
/// No tool for it.
pub(super) const NO_TOOL: u32 = 127;
/// The file system is full, or would be.
pub(super) const NO_ROOM: u32 = 28;
/// It hashes to something else; the digest is on stdout.
pub(super) const WRONG: u32 = 47;
/// It is larger than it may be.
pub(super) const LARGE: u32 = 49;
/// What was unpacked cannot be written; why is on stderr.
pub(super) const NOT_WRITTEN: u32 = 54;
/// It cannot be unpacked.
pub(super) const DAMAGED: u32 = 50;
/// Nothing is there to work on.
pub(super) const NOTHING: u32 = 52;
/// It cannot be locked.
pub(super) const NO_LOCK: u32 = 53;
/// It is no raw image.
pub(super) const NOT_RAW: u32 = 51;
/// What was looked at is not what is there now.
pub(super) const CHANGED: u32 = 48;

/// How many bytes have one digest in what [`PEEK`] tells.
pub(super) const BLOCK: u64 = 16 << 20;

/// `$1` directory, `$2` staging name, `$3` name. A lock on a file that lost its name is of no use.
macro_rules! alone {
    ($then:literal) => {
        concat!(
            r#"
            cd -- "$1" || exit 1;
            if [ -e "$3" ]; then exit 43; fi;
            exec 9<>"$2" || exit 1;
            said=$(flock -n 9 2>&1); case $? in
              0) ;; 1) exit 75;; *) [ -s "$2" ] || rm -f -- "$2"; printf '%s\n' "$said" >&2; exit 53;;
            esac;
            [ "$2" -ef "/proc/$$/fd/9" ] || exit 75;
            if [ -e "$3" ]; then rm -f -- "$2" "$2.out" "$2.raw"; exit 43; fi;
            "#,
            $then
        )
    };
}

/// Tells how much is there, and the SHA-256 of each block of it.
pub(super) const PEEK: &str = alone!(
    r#"
    sum=sha256sum;
    if openssl dgst -r -sha256 </dev/null >/dev/null 2>&1; then sum='openssl dgst -r -sha256'; fi;
    size=$(stat -c %s -- "$2") || exit 1; echo "$size"; i=0;
    while [ $(( i * 16777216 )) -lt "$size" ]; do
      d=$(dd if="$2" bs=1048576 skip=$(( i * 16 )) count=16 2>/dev/null | $sum);
      echo "${d%% *}"; i=$(( i + 1 ));
    done
"#
);

/// Takes the rest of a file: `$4` its length, `$5` how much of it is there already. Ends where nothing
/// comes for a minute at most: a connection that nobody ended would hold the lock for hours.
pub(super) const SEND: &str = alone!(
    r#"
    truncate -s "$5" -- "$2" || exit 1;
    free=$(stat -f -c '%a %S' .) || exit 1;
    if [ $(( ${free% *} * ${free#* } )) -le $(( $4 - $5 )) ]; then
      [ -s "$2" ] || rm -f -- "$2"; exit 28;
    fi;
    exec 3<&0;
    cat <&3 >>"$2" & c=$!;
    ( last=-1; while sleep 30; do
        now=$(stat -c %s -- "$2"); if [ "$now" = "$last" ]; then kill $c; exit; fi; last=$now;
      done ) </dev/null >/dev/null 2>&1 3<&- 9>&- & w=$!;
    wait $c; code=$?; kill $w 2>/dev/null;
    if [ "$code" = 0 ] && [ "$(stat -c %s -- "$2")" -eq "$4" ]; then exit 0; fi;
    if [ "$code" -gt 0 ] && [ "$code" -lt 128 ]; then rm -f -- "$2"; exit 1; fi;
    echo 'the file did not arrive completely' >&2; exit 1
"#
);

/// Fetches what is not there yet: `$4` is `fresh` to begin with nothing, `$5` how long the file is, where
/// the server said so, `$6` else how many blocks of 512 bytes it may have. The address comes on stdin,
/// since everybody reads the process list. Goes on as long as each try brings something; says `resumed`
/// where the file was put together from pieces. A fetch goes on when we are gone.
///
/// wget gives a file the server's time, and what is older than a week is swept away: it is touched.
/// curl ends with 33 where the server knows no ranges, with 23 where it cannot write; wget with 3.
pub(super) const FETCH: &str = alone!(
    r#"
    [ "$4" != fresh ] || : >"$2";
    if [ -n "$6" ]; then trap '' 25; ulimit -f "$6" || exit 1; fi;
    IFS= read -r url || exit 1;
    tries=0; ranges=yes; code=0;
    while [ $tries -lt 50 ]; do
      had=$(stat -c %s -- "$2") || exit 1; [ "$had" = 0 ] || echo resumed;
      [ "$had" != "$5" ] || exit 0;
      if command -v curl >/dev/null 2>&1; then
        printf 'url = "%s"\n' "$url" |
          curl -K - -gfsSL -C - --proto =http,https --proto-redir =http,https --max-redirs 10
          --connect-timeout 15 --speed-limit 1000 --speed-time 60 -o "$2"; code=$?;
        case $code in
          0) exit 0;;
          23) rm -f -- "$2"; exit 28;;
          33) [ $ranges = yes ] || exit 1; ranges=no; : >"$2"; continue;;
        esac;
      elif command -v wget >/dev/null 2>&1; then
        printf '%s\n' "$url" |
          wget -nv -c --tries 2 --timeout 60 --connect-timeout 15 --max-redirect 10 -O "$2" -i -;
        code=$?; touch -c -- "$2";
        case $code in 0) exit 0;; 3) rm -f -- "$2"; exit 28;; esac;
      else
        code=127;
      fi;
      [ "$(stat -c %s -- "$2")" -gt "$had" ] || break;
      tries=$(( tries + 1 )); sleep 1;
    done;
    [ -s "$2" ] || rm -f -- "$2";
    [ $code != 127 ] || exit 127; exit 1
"#
);

/// Tells the free space and what the server answers when it is asked for the head alone.
pub(super) const ASK: &str = r#"
    cd -- "$1" || exit 1; stat -f -c '%a %S' . || exit 1;
    IFS= read -r url || exit 1;
    command -v curl >/dev/null 2>&1 || exit 0;
    printf 'url = "%s"\n' "$url" |
      curl -K - -gfsIL --proto =http,https --proto-redir =http,https --max-redirs 10 --max-time 10
      2>/dev/null || exit 0
"#;

/// Gives a file its name if it is what it should be: `$4` `sha256` or `sha512`, `$5` that digest,
/// `$6` the SHA-256 of its first `$7` bytes, as they were looked at. Readable, since QEMU may run as
/// another user than who wrote it. OpenSSL's is several times as fast as coreutils'.
pub(super) const FINISH: &str = alone!(
    r#"
    [ -s "$2" ] || { rm -f -- "$2"; exit 52; };
    d=$(openssl dgst -r "-$4" <"$2" 2>/dev/null) || d=$("${4}sum" <"$2") || exit 1;
    d=${d%% *};
    if [ "$d" != "$5" ]; then rm -f -- "$2"; printf '%s\n' "$d"; exit 47; fi;
    h=$(head -c "$7" -- "$2" | sha256sum); [ "${h%% *}" = "$6" ] || exit 48;
    chmod 0644 -- "$2" && sync -- "$2" && mv -T -- "$2" "$3" && sync -- .
"#
);

/// Tells whether the programs in `$1` are there.
pub(super) const TOOLS: &str = r#"
    for tool in $1; do command -v "$tool" >/dev/null 2>&1 || exit 1; done
"#;

/// Makes a qcow2 file beside what came, and tells its first `$9` bytes: `$4` `sha256` or `sha512`, `$5`
/// that digest, `$6` what unpacks it, `$7` `qcow2` or `raw`, `$8` how large it may be. No program reads
/// what was not verified.
pub(super) const UNPACK: &str = alone!(
    r#"
    [ -s "$2" ] || { rm -f -- "$2"; exit 52; };
    d=$(openssl dgst -r "-$4" <"$2" 2>/dev/null) || d=$("${4}sum" <"$2") || exit 1;
    d=${d%% *};
    if [ "$d" != "$5" ]; then rm -f -- "$2"; printf '%s
' "$d"; exit 47; fi;
    out="$2.out"; flat="$2"; rm -f -- "$2.out" "$2.raw"; fail() { rm -f -- "$2.out" "$2.raw"; exit "$1"; };
    if [ -n "$6" ]; then
      flat="$2.raw"; [ "$7" = raw ] || flat="$2.out";
      code=$( { { $6 -dc <"$2"; echo $? >&4; } |
        head -c $(( $8 + 1 )) | dd of="$flat" bs=1M iflag=fullblock conv=sparse status=none;
        } 4>&1 ); written=$?;
      left=$(stat -f -c %a .); [ "$left" != 0 ] || fail 28 "$2";
      [ "$(stat -c %s -- "$flat")" -le "$8" ] || fail 49 "$2";
      [ "$written" = 0 ] || fail 54 "$2";
      [ "$code" = 0 ] || fail 50 "$2";
    fi;
    if [ "$7" = raw ]; then
      [ "$(stat -c %s -- "$flat")" -le "$8" ] || fail 49 "$2";
      m=$(head -c 4 -- "$flat" | od -An -tx1 | tr -d ' \n'); [ "$m" != 514649fb ] || fail 51 "$2";
      qemu-img convert -f raw -O qcow2 -- "$flat" "$out" || fail 1 "$2"; rm -f -- "$2.raw";
    fi;
    exec head -c "$9" -- "$out"
"#
);

/// Removes what is not worth going on with.
pub(super) const REMOVE: &str = alone!(r#"rm -f -- "$2" "$2.out" "$2.raw""#);

/// Gives what was made its name: `$4` the SHA-256 of its first `$5` bytes.
pub(super) const NAME: &str = alone!(
    r#"
    h=$(head -c "$5" -- "$2.out" | sha256sum); [ "${h%% *}" = "$4" ] || exit 48;
    chmod 0644 -- "$2.out" && sync -- "$2.out" && mv -T -- "$2.out" "$3" && rm -f -- "$2" && sync -- .
"#
);

/// Removes what was left half brought a week ago, and nobody works on: `$1` directory.
pub(super) const SWEEP: &str = r#"
    cd -- "$1" 2>/dev/null || exit 0;
    find . -maxdepth 1 -name '.staging-*' -type f -mtime +6 -print 2>/dev/null |
    while IFS= read -r f; do
      ( exec 9<"$f" || exit; flock -n 9 && rm -f -- "$f" ) 2>/dev/null;
    done; exit 0
"#;

/// Tells by another answer that somebody does something with a file on its way.
pub(super) const STIR: &str = r#"stat -c '%n %s %Y' -- "$1" "$1.out" "$1.raw" 2>/dev/null; exit 0"#;

/// Tells a file's size.
pub(super) const SIZE: &str = r#"exec stat -c %s -- "$1""#;

/// Tells a file's first `$2` bytes.
pub(super) const HEAD: &str = r#"exec head -c "$2" -- "$1""#;
