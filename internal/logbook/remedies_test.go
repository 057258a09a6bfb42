package logbook

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryWarningHasARemedy: each warning and each error of the programs has a literal "remedy", or passes one on.
func TestEveryWarningHasARemedy(t *testing.T) {
	found := 0
	for _, dir := range []string{"../../cmd", "../../internal", "../../pkg"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, call := range warnings(file) {
				found++
				require.True(t, remedied(call), "%s: a warning or an error has no remedy", fset.Position(call.Pos()))
			}
			return nil
		}))
	}
	require.Greater(t, found, 60, "the calls were found")
}

// warnings returns the calls of a file that log warnings or errors.
func warnings(file *ast.File) (all []*ast.CallExpr) {
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			f, ok := call.Fun.(*ast.SelectorExpr)
			if ok && !isOther(f.X) && (len(call.Args) > 0 && (f.Sel.Name == "Warn" || f.Sel.Name == "Error") || len(call.Args) > 2 && f.Sel.Name == "Log") {
				all = append(all, call)
			}
		}
		return true
	})
	return all
}

// isOther reports whether something with a method Error is no log: package http, or a test.
func isOther(of ast.Expr) bool {
	name, ok := of.(*ast.Ident)
	return ok && (name.Name == "http" || name.Name == "t")
}

// A warning without a remedy is found.
func TestAWarningWithoutARemedy(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
func f() {
	log.Warn("bad", "path", "remedy of it")
	a.b.Log.Error("good", "remedy", "mend it")
	log.Warn("good", remedy)
	log.Info("none is needed")
	log.Log(ctx, level, "bad", "path", p)
	http.Error(w, "other", 500)
	_ = err.Error()
}`, 0)
	require.NoError(t, err)
	var are []bool
	for _, call := range warnings(file) {
		are = append(are, remedied(call))
	}
	require.Equal(t, []bool{false, true, true, false}, are)
}

// remedied reports whether a call gives a remedy: by its name, or by a variable of that name.
func remedied(call *ast.CallExpr) (is bool) {
	ast.Inspect(call, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(n.Value)
			is = is || err == nil && text == "remedy"
		case *ast.Ident:
			is = is || n.Name == "remedy"
		}
		return true
	})
	return is
}
