package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tidemark/internal/cli"
	"tidemark/internal/credentials"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/mirror"
)

// options are what the command line and the environment say.
type options struct {
	mirror.Config
	bwLimit cli.Size
	minSize cli.Size
	maxSize cli.Size
	client  credentials.Client
	more    []string // SOURCEs after the first
	waitFor string
	age     time.Duration // of --check
	checks  bool          // --check was given

	once, print, status, json, release, verify, repair bool
}

func (o *options) define(f *pflag.FlagSet) {
	f.BoolVar(&o.once, "once", false, "one pass, then exit")
	f.Var(cli.DurationVar(&o.Interval, time.Second), "interval", "TIME between polls, where no long poll is possible")
	f.IntVar(&o.Jobs, "jobs", 8, "fetches at once")
	f.BoolVar(&o.NoDelete, "no-delete", false, "keep what SOURCE no longer has")
	f.StringVar(&o.MaxDelete, "max-delete", "50%", "hold deletions beyond `N` within ten minutes: a number, or a share of all entries, if over 100")
	f.StringVar(&o.BackupDir, "backup-dir", "", "move what would be deleted or overwritten into `DIR`, on the file system of DEST (a relative one is one from DEST, as ../backup)")
	f.Var(cli.DurationVar(&o.BackupKeep, 0), "backup-keep", "remove what is older than `TIME` there, as 30d")
	f.BoolVar(&o.Adopt, "adopt", false, "take over a DEST that is not empty and not ours; equal size and mtime count as equal there, with --verify bytes")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what one pass would change, change nothing, then exit")
	f.Var(&cli.Strings{List: &o.Filters, Prefix: "+ ", Name: "GLOB"}, "include", "mirror what matches (repeatable; the first match of --include and --exclude decides)")
	f.Var(&cli.Strings{List: &o.Filters, Prefix: "- ", Name: "GLOB"}, "exclude", "neither fetch nor delete what matches (repeatable)")
	f.Var(&cli.Strings{List: &o.Last, Name: "GLOB"}, "last", "fetch what matches after everything else: index files (repeatable)")
	f.Var(&o.minSize, "min-size", "do not fetch files smaller than this; 0 for no bound")
	f.Var(&o.maxSize, "max-size", "do not fetch files larger than this; 0 for no bound")
	f.Var(cli.DurationVar(&o.MaxAge, 0), "max-age", "do not fetch files that were changed longer ago than this `AGE`, as 168h; 0 for no bound")
	f.BoolVar(&o.Sparse, "sparse", false, "make holes of runs of zeros of 64 KiB and more")
	f.Var(&o.bwLimit, "bwlimit", "most bytes a second; 0 for no bound")
	f.StringVar(&o.Durability, "durability", "batch", "make data durable `batch|file|none` before stamps")
	f.Var(cli.DurationVar(&o.FullInterval, 7*24*time.Hour), "full-interval", "TIME between full walks as a safety net; 0 for never")
	f.BoolVar(&o.NoLinks, "no-links", false, "leave out symlinks")
	f.BoolVar(&o.Owner, "owner", false, "set owners where they are published (as root)")
	f.BoolVar(&o.HardLinks, "hard-links", false, "make one file of names that are one file in SOURCE")
	f.Var(&cli.Strings{List: &o.Chmod, Name: "RULES"}, "chmod", "change modes on their way, as rsync: D755,F644,go-w (repeatable)")
	f.StringVar(&o.Chown, "chown", "", "give everything to `USER:GROUP`, or to one of them (as root)")
	f.StringVar(&o.client.CA, "ca", "", "trust the CAs in `FILE` instead of the system's")
	f.StringVar(&o.client.Cert, "cert", "", "client certificate in `FILE`")
	f.StringVar(&o.client.Key, "key", "", "key of the client certificate, in `FILE`")
	f.StringVar(&o.client.TokenFile, "token-file", "", "send the bearer token in `FILE`")
	f.BoolVar(&o.client.Netrc, "netrc", false, "send the login that ~/.netrc, or the file in $NETRC, has for the host of SOURCE")
	f.Var(&cli.Strings{List: &o.client.Headers, Name: "HEADER"}, "header", "send `NAME:VALUE` with each request (repeatable)")
	f.BoolVar(&o.Quiet, "quiet", false, "no progress and no summaries; log warnings and errors only, unless --log-level is given")
	f.StringVar(&o.Exec, "exec", "", "run `CMD` by sh -c after a pass that changed something, the changed paths on its stdin, each ended by NUL")
	f.BoolVar(&o.print, "print", false, "print what is done, a line for each name: STAMP<TAB>ACTION<TAB>PATH")
	f.StringVar(&o.PrintFormat, "print-format", mirror.Text, "format of --print: `text|json`")
	f.BoolVar(&o.CrossMounts, "cross-mounts", false, "enter directories on other file systems")
	f.StringVar(&o.StateDir, "state-dir", "", "keep the state in `DIR` instead of DEST/.tidemark")
	f.BoolVar(&o.status, "status", false, "print lag, last pass and held deletions of DEST and exit")
	f.BoolVar(&o.json, "json", false, "with --status: as JSON")
	f.Var(cli.DurationVar(&o.age, 0), "check", "say in one line whether DEST was confirmed within `AGE`, with nothing held and nothing failed; exit 1 if not")
	f.StringVar(&o.waitFor, "wait-for", "", "wait until DEST holds everything up to `STAMP` (see watch --sync)")
	f.BoolVar(&o.release, "release", false, "carry out exactly the deletions now held in DEST")
	f.BoolVar(&o.verify, "verify", false, "compare every byte of DEST with the sums of its source; with --adopt: while adopting, then exit")
	f.BoolVar(&o.repair, "repair", false, "with --verify: fetch what differs")
}

// check refuses options that do not go together.
func (o *options) check() error {
	modes := 0
	o.Sums = o.Adopt && o.verify
	for _, given := range []bool{o.once && !o.Sums, o.status, o.checks, o.waitFor != "", o.release, o.verify} {
		if given {
			modes++
		}
	}
	switch {
	case strings.Contains(o.Dest, "://"): // not shown: it may hold a password
		return exit.With(exit.Usage, errors.New("DEST is a URL"), "give SOURCE first, then a directory")
	case modes > 1:
		return exit.With(exit.Usage, errors.New("--once, --status, --check, --wait-for, --release and --verify exclude one another"), "give one of them")
	case o.checks && o.age == 0:
		return exit.With(exit.Usage, errors.New("--check 0s: every copy is older"), "give an age above that, as 60s")
	case o.json && !o.status:
		return exit.With(exit.Usage, errors.New("--json goes with --status"), "give both")
	case o.repair && !o.verify:
		return exit.With(exit.Usage, errors.New("--repair goes with --verify"), "give both")
	case o.DryRun && (o.release || o.repair && !o.Sums):
		return exit.With(exit.Usage, errors.New("--dry-run changes nothing, --release and --repair do"), "--status shows what is held, --verify alone what differs")
	case o.Jobs < 1:
		return exit.With(exit.Usage, fmt.Errorf("--jobs %d: at least one is needed", o.Jobs), "see --help")
	}
	return nil
}
