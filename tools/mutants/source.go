package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one change of one source file.
type mutant struct {
	id     int // the number that turns it on; from 1
	file   string
	line   int
	fn     string // the function in which it is
	what   string // what is done: "never: a < b"
	nth    int    // of several equal ones in one function; from 0
	source *source
	tests  []string // of a marked guard: the tests of which each must fail
}

// name names a generated mutant wherever its line moves.
func (m *mutant) name() string {
	name := m.file + " " + m.fn + ": " + m.what
	if m.nth > 0 {
		name += fmt.Sprintf(" #%d", m.nth+1)
	}
	return name
}

// source is a parsed file, with the edits for all mutants in it.
type source struct {
	path    string // relative to the root of the repository
	text    []byte
	fset    *token.FileSet
	file    *ast.File
	code    string // the text without comments: what results of earlier runs depend on
	parents map[ast.Node]ast.Node
	edits   []edit
	mutants []*mutant
	ids     *int // the last number given
	open    bool // see part.open
	names   map[string]int
}

// load reads a file. ids counts the mutants of all files.
func load(root, path string, ids *int) (*source, error) {
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, err
	}
	s := &source{path: path, text: text, fset: token.NewFileSet(), parents: map[ast.Node]ast.Node{}, ids: ids, names: map[string]int{}}
	if s.file, err = parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		return nil, err
	}
	s.code = s.withoutComments()
	var stack []ast.Node
	ast.Inspect(s.file, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if len(stack) > 0 {
			s.parents[n] = stack[len(stack)-1]
		}
		stack = append(stack, n)
		return true
	})
	return s, nil
}

// withoutComments returns the text without comments, and without what gofmt puts between
// words.
func (s *source) withoutComments() string {
	var out strings.Builder
	done := 0
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			out.Write(s.text[done:s.offset(c.Pos())])
			done = s.offset(c.End())
		}
	}
	out.Write(s.text[done:])
	return strings.Join(strings.Fields(out.String()), " ")
}

func (s *source) offset(p token.Pos) int { return s.fset.Position(p).Offset }
func (s *source) line(p token.Pos) int   { return s.fset.Position(p).Line }

// textOf returns the source of a node in one line.
func (s *source) textOf(n ast.Node) string {
	return strings.Join(strings.Fields(string(s.text[s.offset(n.Pos()):s.offset(n.End())])), " ")
}

// function returns the declaration around a node; nil outside of functions.
func (s *source) function(n ast.Node) *ast.FuncDecl {
	for ; n != nil; n = s.parents[n] {
		if f, ok := n.(*ast.FuncDecl); ok {
			return f
		}
	}
	return nil
}

// functionName names the function around a node: "Rule.Value".
func (s *source) functionName(n ast.Node) string {
	f := s.function(n)
	if f == nil {
		return "-"
	}
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	return strings.TrimPrefix(s.textOf(f.Recv.List[0].Type), "*") + "." + f.Name.Name
}

// add adds a mutant at a node.
func (s *source) add(at ast.Node, what string) *mutant {
	*s.ids++
	m := &mutant{id: *s.ids, file: s.path, line: s.line(at.Pos()), fn: s.functionName(at), what: shorten(what), source: s}
	key := m.name()
	m.nth = s.names[key]
	s.names[key]++
	s.mutants = append(s.mutants, m)
	return m
}

func shorten(text string) string {
	const most = 100
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// wrap puts texts around a node. A %d in pre is the mutant's number.
func (s *source) wrap(m *mutant, n ast.Node, pre, post string) {
	s.wrapAt(m, n.Pos(), n.End(), pre, post)
}

func (s *source) wrapAt(m *mutant, from, to token.Pos, pre, post string) {
	s.edits = append(s.edits, edit{from: s.offset(from), to: s.offset(to), pre: strings.ReplaceAll(pre, "%d", fmt.Sprint(m.id)),
		post: strings.ReplaceAll(post, "%d", fmt.Sprint(m.id)), order: len(s.edits)})
}

// operator puts a text in place of a binary operator.
func (s *source) operator(n *ast.BinaryExpr, text string) {
	from := s.offset(n.OpPos)
	s.edits = append(s.edits, edit{from: from, to: from + len(n.Op.String()), pre: text, replaced: true})
}

// The mutations. never and always fix a condition; it is evaluated all the same.

func (s *source) never(m *mutant, cond ast.Expr)  { s.wrap(m, cond, "mutantFalse(%d, ", ")") }
func (s *source) always(m *mutant, cond ast.Expr) { s.wrap(m, cond, "mutantTrue(%d, ", ")") }
func (s *source) negate(m *mutant, cond ast.Expr) { s.wrap(m, cond, "mutantNot(%d, ", ")") }

// withoutOperand leaves an operand of && or || out: it counts as what decides nothing.
func (s *source) withoutOperand(m *mutant, of token.Token, operand ast.Expr) {
	if of == token.LAND {
		s.always(m, operand)
	} else {
		s.never(m, operand)
	}
}

// shiftNames are the functions that move a bound by one.
var shiftNames = map[token.Token]string{token.LSS: "mutantLess", token.LEQ: "mutantAtMost", token.GTR: "mutantMore", token.GEQ: "mutantAtLeast"}

// shift makes < of <=, and so on.
func (s *source) shift(m *mutant, n *ast.BinaryExpr) {
	s.operator(n, ",")
	s.wrap(m, n, shiftNames[n.Op]+"(%d, ", ")")
}

// withoutOne leaves out the + 1 or - 1 of a sum.
func (s *source) withoutOne(m *mutant, n *ast.BinaryExpr) {
	name := "mutantPlus"
	if n.Op == token.SUB {
		name = "mutantMinus"
	}
	s.operator(n, ",")
	s.wrap(m, n, name+"(%d, ", ")")
}

// remove leaves a statement out.
func (s *source) remove(m *mutant, n ast.Stmt) { s.wrap(m, n, "if !mutantIs(%d) { ", " }") }

// zero returns the zero value of a type in place of an expression.
func (s *source) zero(m *mutant, n ast.Expr, typ string) {
	s.wrap(m, n, "mutantZero["+typ+"](%d, ", ")")
}

// isPlusOne reports whether an expression ends with + 1 or - 1.
func isPlusOne(n ast.Expr) bool {
	b, ok := n.(*ast.BinaryExpr)
	if !ok || b.Op != token.ADD && b.Op != token.SUB {
		return false
	}
	lit, ok := b.Y.(*ast.BasicLit)
	return ok && lit.Value == "1"
}

// isLogic reports whether an expression is made by && or ||.
func isLogic(n ast.Node) (*ast.BinaryExpr, bool) {
	b, ok := n.(*ast.BinaryExpr)
	return b, ok && (b.Op == token.LAND || b.Op == token.LOR)
}

// ends reports whether a function would lack a return without this statement.
func (s *source) ends(n ast.Stmt) bool {
	switch up := s.parents[n].(type) {
	case *ast.BlockStmt:
		if up.List[len(up.List)-1] != n {
			return false
		}
		switch above := s.parents[up].(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			return true
		case *ast.IfStmt:
			return above.Else != nil && s.ends(s.outermostIf(above))
		case *ast.BlockStmt:
			return s.ends(up)
		}
		return false
	case *ast.CaseClause:
		return up.Body[len(up.Body)-1] == n && s.ends(s.parents[s.parents[up]].(ast.Stmt))
	case *ast.CommClause:
		return up.Body[len(up.Body)-1] == n && s.ends(s.parents[s.parents[up]].(ast.Stmt))
	case *ast.LabeledStmt:
		return s.ends(up)
	}
	return false
}

// outermostIf returns the first if of a chain of else if.
func (s *source) outermostIf(n *ast.IfStmt) ast.Stmt {
	for {
		up, ok := s.parents[n].(*ast.IfStmt)
		if !ok || up.Else != n {
			return n
		}
		n = up
	}
}
