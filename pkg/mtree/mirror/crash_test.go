package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/internal/testtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/machine"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/mirror/internal/pass"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// TestMain lets this binary run as a mirror that tests can kill.
func TestMain(m *testing.M) {
	if source := os.Getenv("MIRROR_TEST_SOURCE"); source != "" {
		if size := os.Getenv("MIRROR_TEST_TMPFS"); size != "" {
			if err := syscall.Mount("tmpfs", filepath.Dir(os.Getenv("MIRROR_TEST_DEST")), "tmpfs", 0, size); err != nil {
				fmt.Println("mount:", err)
				os.Exit(99)
			}
		}
		if os.Getenv("MIRROR_TEST_NOXATTR") != "" {
			if err := refuseXattrs(); err != nil {
				fmt.Println("seccomp:", err)
				os.Exit(99)
			}
		}
		commit, _ := strconv.Atoi(os.Getenv("MIRROR_TEST_COMMIT"))
		err := Once(context.Background(), Config{
			Source: source, Dest: os.Getenv("MIRROR_TEST_DEST"), Out: os.Stdout,
			Durability: os.Getenv("MIRROR_TEST_DURABILITY"), BackupDir: os.Getenv("MIRROR_TEST_BACKUP"), commitFiles: commit,
			HardLinks: os.Getenv("MIRROR_TEST_LINKS") != "", Sparse: os.Getenv("MIRROR_TEST_SPARSE") != "",
		})
		if err != nil {
			fmt.Println(err)
		}
		if os.Getenv("MIRROR_TEST_THEN") != "" {
			err = thenMakeRoom(err)
		}
		os.Exit(int(exit.Of(err)))
	}
	os.Exit(m.Run())
}

// refuseXattrs makes the kernel answer ENOTSUP to this process, as on a file system without
// extended attributes (seccomp(2)).
func refuseXattrs() error {
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}
	program := []unix.SockFilter{load}
	for _, call := range []uint32{unix.SYS_FGETXATTR, unix.SYS_FSETXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_FLISTXATTR} {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOTSUP)})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	all := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&all)))
	if errno != 0 {
		return errno
	}
	return nil
}

// helper returns a command that runs a mirror.
func helper(b *bench, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "MIRROR_TEST_SOURCE="+b.config.Source, "MIRROR_TEST_DEST="+b.config.Dest)...)
	return cmd
}

// killFiles makes twenty files for each directory, so that directories are filled in staging.
const killFiles = 700

// A mirror that is killed at any moment leaves whole files, old or new ones, and the next
// mirror continues without help.
func TestKilledAtAnyMoment(t *testing.T) {
	var lines []string
	for i := range killFiles {
		lines = append(lines, fmt.Sprintf("d%d/e%d/f%d = %s", i%7, i%5, i, strings.Repeat("0", 1+i*37%9000)))
	}
	s, b := overHTTP(t, lines...)
	versions := func(round int) string { return string(rune('0' + round%10)) }
	for round := range 10 {
		if round > 0 {
			for i := range killFiles {
				if i%3 == round%3 {
					s.change(fmt.Sprintf("d%d/e%d/f%d = %s", i%7, i%5, i, strings.Repeat(versions(round), 1+i*37%9000)))
				}
			}
		}
		cmd := helper(b)
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(2+round*7)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		requireWholeFiles(t, b.config.Dest)
	}
	b.equal(s)
	b.requireIdle()
	left, err := os.ReadDir(b.path(".tidemark/tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// requireWholeFiles requires that each file fI consists of one letter, and has the letter
// and the length of one of its versions.
func requireWholeFiles(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, ".tidemark") {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		var i int
		_, err = fmt.Sscanf(d.Name(), "f%d", &i)
		require.NoError(t, err, "%q", path)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, text, 1+i*37%9000, "%q is partial", path)
		require.Equal(t, strings.Repeat(string(text[:1]), len(text)), string(text), "%q is mixed", path)
		return nil
	})
	require.NoError(t, err)
}

// After a failed flush nothing is stamped, and the files that were written are fetched again:
// the page cache shows them whole, but the disk may not have them.
func TestAFailedFlushStampsNothing(t *testing.T) {
	s, b := overHTTP(t, append(many("a", 60), "b/c = x")...)
	m, err := open(b.config)
	require.NoError(t, err)
	defer m.close()
	m.replica.Flush = func() error { return syscall.EIO }
	a, err := m.source.Root(context.Background(), source.Poll{})
	require.NoError(t, err)
	_, err = m.pass(context.Background(), a, false)
	require.ErrorIs(t, err, pass.ErrFlush)
	require.Equal(t, exit.Local, exit.Of(err))
	for _, dir := range []string{"", "a", "b"} {
		record, ok := b.record(dir)
		require.True(t, ok)
		require.True(t, isUnfinished(record), dir)
	}
	m.close()
	b.equal(s)
	require.Contains(t, b.out.String(), "fetched 61 files")
}

// If somebody deleted a directory of the copy before the flush, that path fails, but not
// the flush.
func TestADirectoryThatIsGoneBeforeTheFlush(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b/f = x", "z = x")
	b.equal(s)
	b.config.Last = []string{"z"}
	s.change("a/f = changed", "b/f = changed", "z = changed")
	b.server.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/z" {
			require.NoError(t, os.RemoveAll(b.path("a")))
		}
		return false
	})
	err := b.once()
	require.Error(t, err)
	require.NotErrorIs(t, err, pass.ErrFlush)
	record, _ := b.record("b")
	require.Equal(t, stampOf(t, s.path("b")), record.Stamp)
	b.server.interfere(nil)
	b.equal(s)
}

// A directory whose time is not the one in its record counts as unfinished, whoever changed
// it.
func TestATouchedCopyIsLookedAtAgain(t *testing.T) {
	s, b := overHTTP(t, "a/f = x", "b = y")
	b.equal(s)
	require.NoError(t, os.Remove(b.path("a/f")))
	s.publish("b")
	b.equal(s)
}

// A mirror starts while another one dies: it removes the orphans of the other one.
func TestOrphansAreSwept(t *testing.T) {
	s, b := overHTTP(t, "a = x")
	b.equal(s)
	testtree.Make(t, b.config.Dest, ".tidemark/tmp/17 = half a file", ".tidemark/tmp/18/deep/er = a deleted tree")
	b.requireIdle()
	left, err := os.ReadDir(b.path(".tidemark/tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// On a full disk the mirror says so, leaves whole files, and goes on when there is space.
func TestDiskFull(t *testing.T) {
	s, b := overHTTP(t, "a/small = x", "a/big = "+strings.Repeat("b", 3<<20), "c/small = y")
	dir := t.TempDir()
	b.config.Dest = filepath.Join(dir, "copy")
	cmd := helper(b, "MIRROR_TEST_TMPFS=size=2m", "MIRROR_TEST_THEN=room")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "no space left on device")
	require.Contains(t, string(out), "make room on the file system of DEST")
	_ = s
}

// thenMakeRoom is the rest of TestDiskFull, which runs within its mount namespace.
func thenMakeRoom(err error) error {
	dest := os.Getenv("MIRROR_TEST_DEST")
	if exit.Of(err) != exit.Local {
		return fmt.Errorf("exit code %d: %w", exit.Of(err), err)
	}
	if info, err := os.Stat(filepath.Join(dest, "a/big")); err == nil {
		return fmt.Errorf("a file of %d bytes where there is no room", info.Size())
	}
	if err := syscall.Mount("tmpfs", filepath.Dir(dest), "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		return err
	}
	if err := Once(context.Background(), Config{Source: os.Getenv("MIRROR_TEST_SOURCE"), Dest: dest, Out: os.Stdout}); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(dest, "a/big"))
	if err == nil && info.Size() != 3<<20 {
		err = fmt.Errorf("%d bytes", info.Size())
	}
	return err
}

// Without extended attributes the records are kept in a log.
func TestRecordsWithoutXattrs(t *testing.T) {
	root, err := disk.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	m, err := state.CreateMarker(root, "")
	require.NoError(t, err)
	defer m.Close()
	log, err := records.OpenLog(m)
	require.NoError(t, err)
	want := records.Record{Stamp: stampOf(t, root.Path()), Now: machine.Now(), ID: "0011223344556677"}
	for range 3000 { // as many as make it worth rewriting
		want.Now = want.Now.Add(1)
		require.NoError(t, log.Set("", want))
		require.NoError(t, log.Set("odd \n name/ü", want))
	}
	require.NoError(t, log.Close())
	f, err := os.OpenFile(filepath.Join(root.Path(), ".tidemark/records"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("1.5 1.5 - ./torn")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for range 2 {
		log, err = records.OpenLog(m)
		require.NoError(t, err)
		for _, path := range []string{"", "odd \n name/ü"} {
			got, ok := log.Get(path)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		_, ok := log.Get("torn")
		require.False(t, ok)
		require.NoError(t, log.Close())
	}
	info, err := os.Stat(filepath.Join(root.Path(), ".tidemark/records"))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1000))
}
