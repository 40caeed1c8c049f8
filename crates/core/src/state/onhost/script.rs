//! What runs on the host: it holds the lock, and every write is its own.

/// `$1` the directory, `$2` what is wanted (`read`, `lock`, `who`, `over`), `$3` who wants the lock.
///
/// Who asks whose the lock is holds it for a moment: it is tried for more than once.
///
/// It reads a line and answers with a line, until its input ends or it is told that another takes
/// over. Bytes come after the line that counts them, and go in base64 up to a line with a dot.
///
/// Whoever takes over kills it, what it started, and the sshd of its session: with the lock goes
/// everything else that came over that connection. A process is the holder's when it has the lock's
/// file open, so that a number that is another's by now harms nobody. Between it and its sshd there is
/// at most its login shell, in the same process group: further up may be the sshd that somebody sits
/// behind who runs freehold on this very host.
pub(super) const SCRIPT: &str = r#"
    d=$1; mode=$2; s=$d/state.json; j=$d/journal.jsonl; h=$d/history; l=$d/apply.lock; cur=;
    fail() { printf 'error %s\n' "$(printf '%s\n' "$1" | tail -n 1)"; };
    die() { fail "$1"; exit 0; };
    group_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 3; };
    give() {
      if [ -e "$2" ]; then echo "have $1"; base64 < "$2" || echo '!'; echo .; else echo "none $1"; fi;
    };
    take() {
      if why=$(dd bs="$1" count=1 iflag=fullblock of="$2" $3 2>&1); then
        if [ "$3" != conv=fsync ] || [ "$(wc -c < "$2")" -eq "$1" ]; then return 0; fi;
        exit 0;
      fi;
      if [ "$3" = conv=fsync ]; then rm -f -- "$2"; fi;
      case "$why" in
        *'No space left'*|*'uota exceeded'*) echo full;;
        *) fail "$(printf '%s\n' "$why" | sed -n 's/^dd: //p')"; case "$why" in *open*) exit 0;; esac;;
      esac;
      return 1;
    };
    up=${d%/*}; up=${up:-/};
    if [ ! -d "$up" ]; then echo nowhere; exit 0; fi;
    for tool in flock base64 sha256sum dd; do
      command -v "$tool" >/dev/null 2>&1 || die "$tool is not installed there";
    done;
    if [ "$mode" = lock ] && [ ! -d "$d" ]; then
      why=$(mkdir -m 0700 -- "$d" 2>&1) || [ -d "$d" ] || die "$why";
      sync -- "$up";
    fi;
    if [ -e "$d" ] && ! ( cd -- "$d" ) 2>/dev/null; then die "$d: Permission denied"; fi;
    if [ "$mode" = who ] || [ "$mode" = over ]; then
      if [ ! -e "$l" ]; then echo nobody; exit 0; fi;
      exec 9< "$l";
      if flock -n -s 9; then echo nobody; exit 0; fi;
      sleep 0.3;
      if [ "$mode" = who ]; then echo busy; give holder "$d/apply.json"; exit 0; fi;
      p=; read -r p rest < "$d/apply.pid";
      holds() {
        for f in /proc/"$p"/fd/*; do if [ "$f" -ef "$l" ]; then return 0; fi; done; return 1;
      };
      if ! holds; then die "its process there ($p) is not ours to end"; fi;
      q=$p; shell=; group=$(group_of "$p");
      while [ "${q:-1}" -gt 1 ] && [ "$(group_of "$q")" = "$group" ]; do
        q=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$q/status");
        case "$(cat "/proc/$q/comm" 2>/dev/null)" in sshd*) shell=$q; break;; esac;
      done;
      kill -TERM "$p"; n=0;
      while [ "$n" -lt 60 ]; do
        if [ "$n" -eq 5 ] && [ -n "$shell" ]; then kill -TERM "$shell" 2>/dev/null; fi;
        if flock -n -s 9; then
          if [ "$n" -lt 5 ] && [ -n "$shell" ]; then sleep 0.3; kill -TERM "$shell" 2>/dev/null; fi;
          echo ended; exit 0;
        fi;
        read -r now rest < "$d/apply.pid";
        if [ "$now" != "$p" ]; then echo ended; exit 0; fi;
        if [ "$n" -eq 20 ] && holds; then
          kill -KILL "$p" $(cat "/proc/$p/task/$p/children" 2>/dev/null) 2>/dev/null;
        fi;
        n=$((n+1)); sleep 0.1;
      done;
      die 'it does not end';
    fi;
    if [ "$mode" = lock ]; then
      why=$( { : >> "$l"; } 2>&1 ) || die "$why";
      exec 9>> "$l";
      n=0;
      until flock -n 9; do
        n=$((n+1));
        if [ "$n" -gt 3 ]; then echo busy; give holder "$d/apply.json"; exit 0; fi;
        sleep 0.1;
      done;
      trap 'echo over; exit 0' TERM;
      why=$( {
        echo "$$ -" > "$d/apply.pid.new" && mv -T -- "$d/apply.pid.new" "$d/apply.pid" &&
        printf %s "$3" > "$d/apply.json.new" && mv -T -- "$d/apply.json.new" "$d/apply.json";
      } 2>&1 ) || die "$why";
    fi;
    echo ready;
    while read -r w a b c e; do
      case "$w" in
        contents)
          give state "$s"; give journal "$j"; give moved "$d/moved";
          printf history;
          for f in "$h"/state-*.json; do
            if [ -e "$f" ]; then f=${f##*/state-}; printf ' %s' "${f%.json}"; fi;
          done;
          echo;;
        copy) give copy "$h/state-$a.json";;
        begin)
          take "$b" "$j.new" conv=fsync || continue;
          if [ "$c" = 1 ] && [ -e "$j" ]; then
            mv -T -- "$j" "$j.damaged-$(date -u +%Y%m%dT%H%M%SZ)-$$";
          fi;
          if why=$( { mv -T -- "$j.new" "$j" && sync -- "$d"; } 2>&1 ); then
            cur=$a; echo ok;
          else fail "$why"; fi;;
        append)
          if [ "$a" != "$cur" ]; then echo changed; exit 0; fi;
          o=conv=notrunc; if [ "$c" = 1 ]; then o=conv=notrunc,fsync; fi;
          take "$b" "$j" "$o oflag=append" || continue; echo ok;;
        save)
          take "$b" "$s.new" conv=fsync || continue;
          x=$(sha256sum < "$s.new");
          if [ "${x%% *}" != "$c" ]; then fail 'other bytes arrived than were sent'; continue; fi;
          x=-; if [ -e "$s" ]; then x=$(sha256sum < "$s"); x=${x%% *}; fi;
          if [ "$x" != "$e" ]; then echo changed; continue; fi;
          if ! why=$( { mv -T -- "$s.new" "$s" && sync -- "$d"; } 2>&1 ); then
            fail "$why"; continue;
          fi;
          if [ "$e" = - ]; then rm -f -- "$d/moved"; fi;
          {
            mkdir -p -- "$h"; cp -- "$s" "$h/.new" && mv -T -- "$h/.new" "$h/state-$a.json";
            sync -- "$h"; set -- "$h"/state-*.json;
            while [ "$#" -gt 10 ]; do rm -f -- "$1"; shift; done;
          } >/dev/null 2>&1;
          echo ok;;
        retire)
          take "$a" "$d/moved.new" conv=fsync || continue;
          t=moved-$(date -u +%Y%m%dT%H%M%SZ)-$$;
          why=$(mv -T -- "$d/moved.new" "$d/moved" 2>&1);
          for f in "$j" "$h" "$s"; do
            if [ -z "$why" ] && [ -e "$f" ]; then why=$(mv -T -- "$f" "$f.$t" 2>&1); fi;
          done;
          if [ -z "$why" ]; then sync -- "$d"; echo ok; else fail "$why"; fi;;
        *) exit 0;;
      esac;
    done
"#;
