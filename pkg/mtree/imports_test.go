package mtree_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goPackage is what go list says about one package of this module.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestImportRules keeps the layout of docs/overview.md: each program's import
// list is its architecture.
func TestImportRules(t *testing.T) {
	packages := listPackages(t)
	const (
		core     = "tidemark/pkg/mtree"
		beneath  = core + "/internal/beneath"
		disk     = core + "/internal/disk"
		state    = core + "/internal/state"
		records  = core + "/internal/records"
		lister   = core + "/internal/lister"
		machine  = core + "/internal/machine"
		dirwatch = core + "/internal/dirwatch"
		filetime = core + "/internal/filetime"
		limit    = core + "/internal/limit"
		notify   = core + "/internal/notify"
		handles  = notify + "/internal/handles"
		unix     = "golang.org/x/sys/unix"
		chi      = "github.com/go-chi/chi/v5"
	)
	// callers make system calls by number.
	callers := []string{beneath, disk, state, records, machine, dirwatch, notify, handles, notify + "/notifytest", "tidemark/e2e/refuse"}
	programs := []string{core + "/watch", core + "/serve", core + "/mirror"}

	for _, pure := range []string{"os", "net", "net/http", "syscall", unix, "log/slog", "io/fs", "io/ioutil", "os/exec"} {
		require.NotContains(t, packages[core].Imports, pure, "the core does no I/O")
		require.NotContains(t, packages[core+"/wire"].Imports, pure, "wire only formats and parses")
	}
	for _, dep := range packages[core+"/wire"].Deps {
		require.False(t, strings.HasPrefix(dep, "tidemark/") && dep != core, "wire knows the core only, and not %s", dep)
	}
	for path, p := range packages {
		if !slices.Contains(callers, path) {
			require.NotContains(t, p.Imports, unix, "%s: only %s make system calls", path, callers)
		}
		if path != core+"/serve" {
			require.NotContains(t, p.Imports, chi, "%s: chi is used in serve and nowhere else", path)
		}
		for _, imported := range p.Imports {
			require.False(t, strings.HasPrefix(imported, "github.com/stretchr/testify") && path != "tidemark/internal/testtree",
				"%s: testify only in tests", path)
		}
	}
	for _, program := range programs {
		for _, other := range programs {
			if other != program {
				require.NotContains(t, packages[program].Deps, other, "the programs agree through the protocol only")
			}
		}
	}
	require.NotContains(t, packages[core+"/watch"].Deps, "net/http", "watch speaks no HTTP")
	for _, dep := range packages[core+"/internal/fastpath"].Deps {
		require.False(t, strings.HasPrefix(dep, "tidemark/"), "fastpath serves any Handler, and knows of %s", dep)
	}
	for _, reader := range []string{core + "/serve", core + "/mirror"} {
		require.NotContains(t, packages[reader].Deps, notify, "%s hears no tree events", reader)
	}
	const plan = core + "/mirror/internal/plan"
	for _, dep := range packages[plan].Deps {
		require.True(t, !strings.HasPrefix(dep, "tidemark/") || dep == core, "plan is pure, and knows of %s", dep)
	}
	for _, imported := range packages[plan].Imports {
		require.Contains(t, []string{core, "strings", "time"}, imported, "plan is pure")
	}
	const (
		render    = core + "/serve/internal/render"
		negotiate = core + "/serve/internal/negotiate"
		pages     = core + "/serve/internal/pages"
		longpoll  = core + "/serve/internal/longpoll"
		published = core + "/serve/internal/published"
	)
	const watch = core + "/watch/internal/" // and a package
	for _, pure := range []string{"os", "net", "net/http", "syscall", "log/slog", "io/fs"} {
		require.NotContains(t, packages[render].Imports, pure, "render only makes bodies")
	}
	// Of mirror only source/remote speaks HTTP; a source knows nothing of the copy; and
	// those parts of it that only parse, or keep what came, open no connection.
	const mirror, source = core + "/mirror", core + "/mirror/internal/source"
	for path, p := range packages {
		if (path == mirror || strings.HasPrefix(path, mirror+"/")) && path != source+"/remote" {
			require.NotContains(t, p.Imports, "net/http", "%s: only source/remote speaks HTTP", path)
		}
		if path != source && !strings.HasPrefix(path, source+"/") {
			continue
		}
		for _, dep := range p.Deps {
			require.False(t, strings.HasPrefix(dep, mirror+"/internal/") && !strings.HasPrefix(dep, source), "%s may not import %s", path, dep)
		}
	}
	for _, dep := range packages[source+"/autoindex"].Deps {
		require.True(t, !strings.HasPrefix(dep, "tidemark/") || dep == core, "autoindex is pure, and knows of %s", dep)
		require.NotEqual(t, "net/http", dep, "autoindex only parses")
	}
	// What each package below the programs may import of this module.
	for path, allowed := range map[string][]string{
		beneath:   {core},
		disk:      {core, beneath},
		render:    {core, core + "/wire"},
		negotiate: {core, core + "/wire", render},
		pages:     {core, core + "/wire", disk, render},
		longpoll:  {core + "/wire", dirwatch, disk},
		published: {core, core + "/wire", core + "/internal/glob", disk, filetime, lister, machine, records, state},

		filetime: {core},
		machine:  {core},
		dirwatch: {disk, limit},
		state:    {core, core + "/wire", disk, filetime, machine},
		records:  {core, disk, filetime, state},
		lister:   {core, disk, filetime, machine, records, state},
		notify:   {core, limit, handles},
		handles:  {core},

		watch + "stamprule": {core},
		watch + "ownwrites": {core, disk, state},
		watch + "health":    {core, disk, notify, state},
		watch + "identity":  {core, core + "/exit", disk, machine, records, state, watch + "stamprule"},
		watch + "mounts":    {core, disk, machine, notify, state},
		watch + "trigger":   {core, core + "/exit", machine, "tidemark/internal/outlet"},
		watch + "publish": {core, disk, core + "/internal/glob", filetime, notify, state, core + "/wire",
			watch + "audit", watch + "health", watch + "ownwrites", watch + "stamprule", watch + "trigger"},
		watch + "audit": {core, core + "/wire", disk, core + "/internal/glob", machine, notify, state,
			watch + "health", watch + "ownwrites", watch + "stamprule"},
	} {
		for _, imported := range packages[path].Imports {
			require.True(t, !strings.HasPrefix(imported, "tidemark/") || slices.Contains(allowed, imported), "%s may not import %s", path, imported)
		}
	}
}

// listPackages returns all packages of the module, without their tests.
func listPackages(t *testing.T) map[string]goPackage {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "tidemark/...")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("go list: %s", failed.Stderr)
	}
	require.NoError(t, err)
	packages := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		packages[p.ImportPath] = p
	}
	require.True(t, slices.Contains(packages["tidemark/cmd/watch"].Deps, "tidemark/pkg/mtree/watch"), "go list saw the programs")
	return packages
}
