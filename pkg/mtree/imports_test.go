package mtree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// goPackage is what go list says about one package of this module.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// Packages of this module, and some of others.
const (
	core     = "tidemark/pkg/mtree"
	sys      = core + "/internal/sys"
	wire     = core + "/wire"
	fastpath = core + "/internal/fastpath"
	beneath  = core + "/internal/beneath"
	disk     = core + "/internal/disk"
	state    = core + "/internal/state"
	records  = core + "/internal/records"
	journal  = core + "/internal/journal"
	lister   = core + "/internal/lister"
	machine  = core + "/internal/machine"
	dirwatch = core + "/internal/dirwatch"
	filetime = core + "/internal/filetime"
	limit    = core + "/internal/limit"
	notify   = core + "/internal/notify"
	handles  = notify + "/internal/handles"

	render    = core + "/serve/internal/render"
	negotiate = core + "/serve/internal/negotiate"
	pages     = core + "/serve/internal/pages"
	longpoll  = core + "/serve/internal/longpoll"
	published = core + "/serve/internal/published"
	changed   = core + "/serve/internal/changed"

	watch  = core + "/watch/internal/" // and a package
	mirror = core + "/mirror"
	plan   = mirror + "/internal/plan"
	source = mirror + "/internal/source"

	house = "tidemark/internal/" // and a package

	unix = "golang.org/x/sys/unix"
	chi  = "github.com/go-chi/chi/v5"
)

// isOurs reports whether an import path is one of this module.
func isOurs(path string) bool { return strings.HasPrefix(path, "tidemark/") }

// These tests keep the layout of docs/overview.md: the import list of each package is
// its architecture.

func TestPurePackages(t *testing.T) {
	packages := listPackages(t)
	for _, impure := range []string{"os", "net", "net/http", "syscall", unix, "log/slog", "io/fs", "io/ioutil", "os/exec"} {
		require.NotContains(t, packages[core].Imports, impure, "the core does no I/O")
		require.NotContains(t, packages[wire].Imports, impure, "wire only formats and parses")
		require.NotContains(t, packages[render].Imports, impure, "render only makes bodies")
	}
	for _, imported := range packages[plan].Imports {
		require.Contains(t, []string{core, "strings", "time"}, imported, "plan is pure")
	}
	for _, pure := range []string{wire, plan, source + "/autoindex"} {
		for _, dep := range packages[pure].Deps {
			require.True(t, !isOurs(dep) || dep == core, "%s knows the core only, and not %s", pure, dep)
		}
	}
	require.NotContains(t, packages[source+"/autoindex"].Deps, "net/http", "autoindex only parses")
}

func TestLibrariesInTheirPlaces(t *testing.T) {
	callers := []string{"tidemark/proof/calls", "tidemark/proof/world", sys, sys + "/simkernel", sys + "/faultkernel", beneath, disk, state, records, machine, dirwatch, notify, handles, notify + "/notifytest", "tidemark/e2e/refuse"}
	for path, p := range listPackages(t) {
		if !slices.Contains(callers, path) {
			require.NotContains(t, p.Imports, unix, "%s: only %s make system calls by number", path, callers)
		}
		if path != core+"/serve" {
			require.NotContains(t, p.Imports, chi, "%s: only serve uses chi", path)
		}
		for _, imported := range p.Imports {
			require.False(t, strings.HasPrefix(imported, "github.com/stretchr/testify") && path != "tidemark/internal/testtree" && path != "tidemark/internal/testbrowser",
				"%s: testify only in tests", path)
		}
		if (path == mirror || strings.HasPrefix(path, mirror+"/")) && path != source+"/remote" {
			require.NotContains(t, p.Imports, "net/http", "%s: of mirror only source/remote speaks HTTP", path)
		}
	}
}

func TestProgramsDoNotKnowEachOther(t *testing.T) {
	packages := listPackages(t)
	programs := []string{core + "/watch", core + "/serve", mirror}
	for _, program := range programs {
		for _, other := range programs {
			if other != program {
				require.NotContains(t, packages[program].Deps, other, "the programs agree through the protocol only")
			}
		}
	}
	require.NotContains(t, packages[core+"/watch"].Deps, "net/http", "watch speaks no HTTP")
	for _, reader := range []string{core + "/serve", mirror} {
		require.NotContains(t, packages[reader].Deps, notify, "%s hears no tree events", reader)
	}
}

// A source knows nothing of the copy.
func TestSourcesDoNotKnowTheCopy(t *testing.T) {
	for path, p := range listPackages(t) {
		if path != source && !strings.HasPrefix(path, source+"/") {
			continue
		}
		for _, dep := range p.Deps {
			require.False(t, strings.HasPrefix(dep, mirror+"/internal/") && !strings.HasPrefix(dep, source), "%s may not import %s", path, dep)
		}
	}
}

// unsimulated are the files whose system calls a simulation answers in another way, or not
// at all: timers, polls, fanotify.
var unsimulated = []string{"machine/clockstep.go", "machine/mounts.go", "notify/fanotify.go"}

// TestSystemCallsGoThroughTheSeam: a system call that package sys knows is made through it,
// so that a simulation sees it.
func TestSystemCallsGoThroughTheSeam(t *testing.T) {
	known := map[string]bool{}
	functions(t, "internal/sys/*.go", func(_, name string) { known[name] = true })
	require.True(t, known["Openat"] && known["Renameat2"], "the functions of the seam were found")
	for _, dir := range []string{"beneath", "disk", "state", "records", "machine", "limit", "notify", "dirwatch"} {
		calls(t, "internal/"+dir+"/*.go", func(file, pkg, name string) {
			if pkg == "unix" && !slices.Contains(unsimulated, strings.TrimPrefix(file, "internal/")) {
				require.False(t, known[name], "%s calls unix.%s: it must call sys.%s", file, name, name)
			}
		})
	}
}

// TestAllowedImports: what each package below the programs may import of this module.
func TestAllowedImports(t *testing.T) {
	packages := listPackages(t)
	for path, allowed := range map[string][]string{
		wire:     {core},
		fastpath: {}, // it serves any Handler

		sys:       {},
		beneath:   {core, sys},
		disk:      {core, sys, beneath},
		render:    {core, wire, "tidemark/internal/webpage"},
		negotiate: {core, wire, render},
		pages:     {core, wire, disk, render},
		longpoll:  {wire, dirwatch, disk},
		changed:   {core, wire, disk, journal, lister, pages, published, render},
		published: {core, wire, core + "/internal/glob", disk, filetime, journal, lister, machine, records, state},

		filetime: {core},
		machine:  {core, sys},
		limit:    {sys},
		dirwatch: {disk, limit, sys},
		state:    {core, sys, wire, disk, filetime, machine},
		records:  {core, sys, disk, filetime, state},
		journal:  {core, disk, machine, state, sys},
		lister:   {core, disk, filetime, machine, records, state},
		notify:   {core, sys, limit, handles, machine},
		handles:  {core},

		// In mirror each uses what stands above it: a source nothing of the copy, fetch no work,
		// work no pass, and package mirror all of them.
		plan:                         {core},
		mirror + "/internal/rights":  {core},
		mirror + "/internal/actions": {core, core + "/exit", "tidemark/internal/outlet"},
		mirror + "/internal/backup":  {core, core + "/exit", disk, state, sys},
		mirror + "/internal/limits":  {core},
		mirror + "/internal/links":   {core, state, sys},
		mirror + "/internal/replica": {core, core + "/exit", core + "/wire", core + "/internal/glob", disk, filetime, journal, lister, machine, records, state, sys, mirror + "/internal/backup", mirror + "/internal/links"},
		mirror + "/internal/gate":    {core, state, sys, mirror + "/internal/replica"},
		mirror + "/internal/overlap": {core, core + "/exit", disk, lister, machine, state, mirror + "/internal/replica", source},
		mirror + "/internal/lineage": {core, core + "/exit", core + "/wire", state, mirror + "/internal/limits", mirror + "/internal/rights", mirror + "/internal/replica", source, mirror + "/internal/overlap"},
		mirror + "/internal/fetch":   {core, core + "/wire", disk, records, mirror + "/internal/limits", mirror + "/internal/links", mirror + "/internal/replica", source},
		mirror + "/internal/work": {core, core + "/wire", core + "/internal/glob", disk, lister, records, sys,
			plan, mirror + "/internal/fetch", mirror + "/internal/limits", mirror + "/internal/links", mirror + "/internal/rights", mirror + "/internal/replica", mirror + "/internal/overlap", source, source + "/directory"},
		mirror + "/internal/several": {core, core + "/exit", core + "/wire", "tidemark/internal/logbook", machine, source, source + "/remote", mirror + "/internal/replica", mirror + "/internal/overlap", mirror + "/internal/work"},
		mirror + "/internal/pass": {core, core + "/exit", core + "/wire", core + "/internal/glob", disk, journal, records,
			plan, mirror + "/internal/actions", mirror + "/internal/replica", mirror + "/internal/gate", mirror + "/internal/overlap", source, mirror + "/internal/fetch", mirror + "/internal/work"},

		watch + "stamprule": {core},
		watch + "ownwrites": {core, sys, disk, state},
		watch + "health":    {core, sys, disk, notify, state},
		watch + "identity":  {core, core + "/exit", disk, machine, records, state, watch + "stamprule"},
		watch + "mounts":    {core, sys, disk, machine, notify, state},
		watch + "trigger":   {core, core + "/exit", machine, "tidemark/internal/outlet"},
		watch + "publish": {core, disk, core + "/internal/glob", filetime, journal, notify, state, wire,
			watch + "audit", watch + "health", watch + "ownwrites", watch + "stamprule", watch + "trigger"},
		watch + "audit": {core, sys, wire, disk, core + "/internal/glob", filetime, machine, notify, state,
			watch + "health", watch + "ownwrites", watch + "stamprule"},

		// What stands around the programs knows nothing of trees.
		house + "credentials": {core + "/exit", house + "logbook"},
		house + "listen":      {core + "/exit", house + "credentials"},
		house + "console":     {house + "logbook", house + "outlet"},
		house + "metrics":     {core + "/exit", house + "listen", house + "weblog", house + "webpage"},
	} {
		require.Contains(t, packages, path)
		for _, imported := range packages[path].Imports {
			require.True(t, !isOurs(imported) || slices.Contains(allowed, imported), "%s may not import %s", path, imported)
		}
	}
}

// listPackages returns all packages of the module, without their tests.
func listPackages(t *testing.T) map[string]goPackage {
	packages, err := goList()
	require.NoError(t, err)
	require.True(t, slices.Contains(packages["tidemark/cmd/watch"].Deps, "tidemark/pkg/mtree/watch"), "go list saw the programs")
	return packages
}

// goList runs go list, once for all tests.
var goList = sync.OnceValues(func() (map[string]goPackage, error) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "tidemark/...").Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("go list: %s", failed.Stderr)
	} else if err != nil {
		return nil, err
	}
	packages := map[string]goPackage{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages[p.ImportPath] = p
	}
})
