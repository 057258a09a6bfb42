package mtree_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parse calls visit with each file of the pattern that is no test.
func parse(t *testing.T, pattern string, visit func(path string, file *ast.File)) {
	paths, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, paths, pattern)
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			visit(path, file)
		}
	}
}

// functions calls visit with each function, without methods, of these files.
func functions(t *testing.T, pattern string, visit func(path, name string)) {
	parse(t, pattern, func(path string, file *ast.File) {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				visit(path, f.Name.Name)
			}
		}
	})
}

// calls calls visit with each call of a function of another package in these files.
func calls(t *testing.T, pattern string, visit func(path, pkg, name string)) {
	parse(t, pattern, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok {
					if pkg, ok := f.X.(*ast.Ident); ok {
						visit(path, pkg.Name, f.Sel.Name)
					}
				}
			}
			return true
		})
	})
}
