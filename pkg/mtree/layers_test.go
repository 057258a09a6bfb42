package mtree_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layersFollow is the sentence by which the doc.go of a package promises that its files
// stand in layers. The list after it names all files of the package, the upper ones
// first; files on one line may use each other.
const layersFollow = "Each uses what stands below it:"

// TestFilesStandInLayers keeps the promise.
func TestFilesStandInLayers(t *testing.T) {
	fset := token.NewFileSet()
	exports := map[string]string{} // import path to export data
	gc := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var layered []listedPackage
	for _, p := range listExports(t) {
		exports[p.ImportPath] = p.Export
		if text, err := os.ReadFile(filepath.Join(p.Dir, "doc.go")); err == nil && strings.Contains(string(text), layersFollow) {
			layered = append(layered, p)
		}
	}
	require.NotEmpty(t, layered)
	for _, p := range layered {
		var files []*ast.File
		layers := map[string]int{"doc.go": 1 << 20}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, f)
			if name == "doc.go" {
				readLayers(f.Doc.Text(), layers)
			}
		}
		for _, name := range p.GoFiles {
			require.Contains(t, layers, name, "%s: doc.go must name all files", p.ImportPath)
		}
		info := types.Info{Uses: map[*ast.Ident]types.Object{}}
		pkg, err := (&types.Config{Importer: gc}).Check(p.ImportPath, fset, files, &info)
		require.NoError(t, err)
		for id, object := range info.Uses {
			if object.Pkg() == pkg {
				from, to := fset.Position(id.Pos()), filepath.Base(fset.Position(object.Pos()).Filename)
				require.LessOrEqual(t, layers[filepath.Base(from.Filename)], layers[to], "%s uses %s, of %s: that must not stand above it in doc.go", from, id.Name, to)
			}
		}
	}
}

// readLayers notes the line of each file in the list of a package comment.
func readLayers(doc string, layers map[string]int) {
	_, list, _ := strings.Cut(doc, layersFollow)
	for i, line := range strings.Split(strings.TrimLeft(list, "\n"), "\n") {
		if !strings.HasPrefix(line, "\t") {
			return
		}
		for _, name := range goFile.FindAllString(line, -1) {
			layers[name] = i
		}
	}
}

var goFile = regexp.MustCompile(`\b\w+\.go\b`)

type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// listExports returns all packages that this module uses, with their export data.
func listExports(t *testing.T) (all []listedPackage) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "tidemark/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // what make and vet compiled serves
	out, err := cmd.Output()
	require.NoError(t, err, fmt.Sprint(cmd))
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}
