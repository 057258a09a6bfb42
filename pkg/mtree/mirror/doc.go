// Package mirror makes a directory equal to a source and keeps it so. It copies one way,
// and descends only where the source's stamp of a directory differs from the stamp that
// the copy of it was completed with.
//
//	err := mirror.Run(ctx, mirror.Config{Source: "http://host:8077/", Dest: "/srv/copy"})
//
// What it promises (docs/invariants.md, M1 to M12): a file has its old or its new
// content, never a part; a directory carries the source's stamp only when everything
// below it is there and on disk; if nothing changed, a look costs one request and no disk
// write; what cannot be read is never taken for empty, and a doubtful deletion is held;
// nothing outside the destination is written, and no other server gets a request.
//
// The packages below it, of which each uses only those further down:
//
//	internal/pass      one run from root to root: what is done next, counts, guards
//	internal/actions   what was done, for --print and --exec
//	internal/several   several sources, of which one is used
//	internal/work      the steps of a pass: visit a directory, compare, link, delete
//	internal/fetch     the step that brings files
//	internal/lineage   what the copy was made from, and whether it may follow this source
//	internal/overlap   would the copy be copied into itself?
//	internal/gate      --max-delete
//	internal/replica   the copy on disk
//	internal/backup    --backup-dir: what would be deleted or overwritten
//	internal/links     --hard-links: which names are one file
//	internal/plan      pure: what makes a directory equal to a listing
//	internal/rights    pure: --chmod and --chown
//	internal/limits    pure: --min-size, --max-size and --max-age
//	internal/source    the source: HTTP, directories, listings of other servers
//
// Concurrency: one goroutine runs a pass and owns its state. It hands out steps, at most
// Config.Jobs at a time, each of which does its I/O and returns a result.
//
// Its files stand in layers. Each uses what stands below it:
//
//	run.go                       Run: the turns of a mirror that keeps running
//	await.go, trouble.go         waiting for news of the source; pauses after trouble
//	parts.go                     when listings may be parts
//	schedule.go                  when the next pass is due
//	expiry.go                    --backup-keep
//	daemon.go, retries.go        what such a mirror knows between two turns; when to look again
//	verify.go, recall.go         Verify: every byte compared; what it takes from the copy
//	once.go                      Once: one pass
//	onepass.go                   how a pass is run, and when a full walk is due
//	progress.go                  how far a pass has got, and where its end is
//	publish.go                   what a mirror publishes of its copy: status.json, Stats
//	release.go                   Release: held deletions carried out
//	mirror.go                    source and copy, opened
//	hook.go                      --exec
//	backup.go                    --backup-dir; what of the options a later repair goes by
//	page.go                      the page of --metrics
//	waitfor.go, status.go        WaitFor, PrintStatus: they only read the copy
//	remedy.go                    what to do about an error
//	origin.go, config.go         a source, or several; Config
//	progressline.go              Progress, and as a line
//	stats.go                     Stats
//	history.go                   what a mirror remembers of the last day
package mirror
