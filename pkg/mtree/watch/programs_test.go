//go:build filesystems

package watch_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/watch"
)

// The programs of Debian as churn: stress-ng, git, npm, sqlite3, vim-tiny, tar,
// rsync. $T is the tree, $O a directory outside of it.
var churnPrograms = []struct {
	name string
	runs []string // by sh -e; after each the reader must believe what is there
}{
	{"stress-ng", []string{stressFiles + "--timeout 2s", stressFiles + "--timeout 1s --keep-files", "rm -rf $T/*"}},
	{"git", []string{`
		export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
		mkdir $O/origin; cd $O/origin; git init -q -b one
		for d in 1 2 3 4 5 6 7 8; do mkdir -p d$d/sub; for f in 1 2 3 4 5 6 7 8 9; do echo $f >d$d/f$f; echo $f >d$d/sub/f$f; done; done
		git add .; git commit -qm one; git checkout -qb two; git mv d1 d9; git rm -qr d2 d3/sub; echo two >d4/f1; ln -s f1 d4/link; rm -r d5; echo file >d5
		git add -A; git commit -qm two; git clone -q $O/origin $T/clone`,
		"cd $T/clone; git checkout -q one; git checkout -q two; git checkout -q one",
		"cd $T/clone; git checkout -q two; git worktree add -q ../tree one; git worktree remove ../tree; echo x >d4/f2; git checkout -q .",
		"cd $T/clone; git gc -q --prune=now; git clean -qfdx; rm -rf .git"}},
	{"npm", []string{`
		mkdir -p $O/p/lib $O/q/bin $T/app
		echo '{"name":"p","version":"1.0.0","dependencies":{"q":"file:../q"}}' >$O/p/package.json; echo 'exports.p = 1' >$O/p/lib/index.js
		echo '{"name":"q","version":"1.0.0","bin":{"q":"bin/q"}}' >$O/q/package.json; echo '#!/bin/sh' >$O/q/bin/q
		echo '{"name":"app","version":"1.0.0"}' >$T/app/package.json; cd $T/app
		npm install --offline --no-audit --no-fund --install-links --cache $O/npm --loglevel error ../../$(basename $O)/p`,
		"cd $T/app; npm install --offline --no-audit --no-fund --cache $O/npm --loglevel error ../../$(basename $O)/q",
		"cd $T/app; npm uninstall --offline --no-audit --no-fund --cache $O/npm --loglevel error p"}},
	{"sqlite3", []string{
		"for i in $(seq 30); do echo \"create table if not exists t(a); insert into t values($i);\"; done | sqlite3 $T/journal.db",
		"(echo 'pragma journal_mode=wal; create table t(a);'; for i in $(seq 300); do echo \"insert into t values(randomblob($i));\"; done) | sqlite3 $T/wal.db >/dev/null",
		"echo 'pragma journal_mode=persist; begin; update t set a=a+1; rollback; update t set a=a+2;' | sqlite3 $T/journal.db >/dev/null",
		"echo 'delete from t; vacuum;' | sqlite3 $T/wal.db; echo 'pragma journal_mode=truncate; vacuum;' | sqlite3 $T/journal.db >/dev/null"}},
	{"vim", []string{
		"for i in 1 2 3; do echo one >$T/e$i; done",
		saveBy("nobackup nowritebackup"), saveBy("writebackup backupcopy=yes"), saveBy("writebackup backupcopy=no"),
		saveBy("backup backupcopy=no"), saveBy("backup backupcopy=yes"), saveBy("patchmode=.orig"), "sed -i s/x/y/ $T/e1"}},
	{"tar, rsync, cp", []string{
		"cp -a $(go env GOROOT)/src/archive $T/archive; tar -C $(go env GOROOT)/src -cf $O/a.tar go; tar -xf $O/a.tar -C $T",
		"rsync -a $(go env GOROOT)/src/go/ $T/archive/; rsync -a --delete $T/archive/ $T/synced/",
		"tar -xf $O/a.tar -C $T --overwrite; find $T/archive -name '*_test.go' -delete; rsync -a --delete --inplace $T/archive/ $T/synced/",
		"mv $T/synced $T/go/synced; tar -xf $O/a.tar -C $T --recursive-unlink; cp -al $T/archive $T/linked"}},
}

// stressFiles are the stressors of files, directories, renames, times and links.
const stressFiles = "stress-ng -q --temp-path $T --rename 1 --dir 1 --dir-dirs 300 --link 1 --symlink 1 --utime 1 --hdd 1 --hdd-bytes 1M " +
	"--touch 1 --chmod 1 --dentry 1 --dentries 300 --dirdeep 1 --dirdeep-inodes 200 --filename 1 --fallocate 1 --fallocate-bytes 1M --xattr 1 "

func saveBy(options string) string {
	return "for i in 1 2 3; do vim.tiny -u NONE -n -es -c 'set " + options + "' -c 'normal ox' -c wq $T/e$i; done"
}

// TestPrograms: after each run of a program, a reader that polled all the time knows what is
// there. A log is open and written to all the time.
func TestPrograms(t *testing.T) {
	ext4 := testfs.Image(t, "mkfs.ext4", "-q", "-F")
	for place, backend := range map[string]string{ext4: "fanotify", memory: "inotify"} {
		for _, p := range churnPrograms {
			t.Run(p.name+"/"+backend, func(t *testing.T) { t.Parallel(); amid(t, place, backend, p.runs) })
		}
	}
}

func amid(t *testing.T, place, backend string, runs []string) {
	root, outside := newTreeIn(t, place, "log = begun\n"), newTreeIn(t, place)
	log, err := os.OpenFile(filepath.Join(root, "log"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer log.Close()
	w := start(t, watch.Config{Root: root, Backend: backend})
	dir, err := disk.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	r := newReader(t)
	for _, run := range runs {
		ctx, stop := context.WithCancel(context.Background())
		var reading sync.WaitGroup
		reading.Go(func() {
			for ctx.Err() == nil {
				_, _ = fmt.Fprintln(log, time.Now())
				r.pass(dir)
			}
		})
		cmd := exec.Command("sh", "-ec", run)
		cmd.Env = append(os.Environ(), "T="+root, "O="+outside, "HOME="+outside)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.CombinedOutput()
		stop()
		reading.Wait()
		require.NoError(t, err, "%s\n%s", run, out)
		w.sync()
		r.catchesUp(dir, strings.TrimSpace(run))
	}
	t.Logf("%d losses", w.config.Stats.Losses.Load())
}
