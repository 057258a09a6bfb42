package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// generate finds everything in a file that is mutated without a mark:
//
//   - a condition is never true, and always
//   - an operand of && or || is left out
//   - < becomes <=, > becomes >=, and the other way round; == and != of a value are negated
//   - a statement is left out: a call, an assignment, a return, continue or break
//   - an error that is returned is nil; a truth that is returned is the other one
//   - + 1 and - 1 are left out
//
// By rule it leaves out what no test should look at: logs, closing, deferred calls, and
// the bare "if err != nil" (the tests of failing system calls are for that). A mutation
// that another one implies is left out, too: && for || by its operands, a statement that
// is alone in its if by the condition.
func (s *source) generate() {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR && s.function(n) != nil
		case *ast.IfStmt:
			s.generateCondition(n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				s.never(s.add(n, "never: for "+s.textOf(n.Cond)), n.Cond)
			}
		case *ast.SwitchStmt:
			if n.Tag == nil {
				s.generateCases(n)
			}
		case *ast.BinaryExpr:
			s.generateBinary(n)
		case *ast.ReturnStmt:
			s.generateReturn(n)
		case ast.Stmt:
			s.generateStatement(n)
		}
		return true
	})
}

// isBare reports whether a condition only asks whether there is an error.
func (s *source) isBare(cond ast.Expr) bool {
	return bareError.MatchString(s.textOf(cond))
}

var bareError = regexp.MustCompile(`^\w*[eE]rr [!=]= nil$`)

func (s *source) generateCondition(cond ast.Expr) {
	if s.isBare(cond) {
		return
	}
	s.never(s.add(cond, "never: if "+s.textOf(cond)), cond)
	s.always(s.add(cond, "always: if "+s.textOf(cond)), cond)
}

func (s *source) generateCases(n *ast.SwitchStmt) {
	for _, c := range n.Body.List {
		for _, cond := range c.(*ast.CaseClause).List {
			if !s.isBare(cond) {
				s.never(s.add(cond, "never: case "+s.textOf(cond)), cond)
				s.always(s.add(cond, "always: case "+s.textOf(cond)), cond)
			}
		}
	}
}

func (s *source) generateBinary(n *ast.BinaryExpr) {
	switch n.Op {
	case token.LAND, token.LOR:
		for _, operand := range []ast.Expr{n.X, n.Y} {
			if inner, ok := isLogic(operand); ok && inner.Op == n.Op {
				continue // its own operands are left out
			}
			s.withoutOperand(s.add(operand, "without: "+s.textOf(operand)+" "+n.Op.String()), n.Op, operand)
		}
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		s.shift(s.add(n, "bound: "+s.textOf(n)), n)
	case token.EQL, token.NEQ:
		if !s.decides(n) && !s.isBare(n) {
			s.negate(s.add(n, "not: "+s.textOf(n)), n)
		}
	case token.ADD, token.SUB:
		if isPlusOne(n) && !s.isMask(n) {
			s.withoutOne(s.add(n, "without 1: "+s.textOf(n)), n)
		}
	}
}

// decides reports whether an expression is a condition, or an operand of && or ||, which
// have mutants of their own.
func (s *source) decides(n ast.Expr) bool {
	if up := s.parents[n]; up != nil {
		if _, ok := isLogic(up); ok {
			return true
		}
		switch up := up.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.CaseClause:
			return true
		case *ast.ParenExpr:
			return s.decides(up)
		case *ast.UnaryExpr:
			return s.decides(up)
		}
	}
	return false
}

// ignored are statements that no test looks at.
var ignored = regexp.MustCompile(`(\.|^)(Log|log)\.|\.Log\(|\.Close\(\)|^panic\(|\.Warn\(|\.Info\(|\.Debug\(|\.Unlock\(|\.Lock\(|^close\(`)

func (s *source) generateStatement(n ast.Stmt) {
	switch n := n.(type) {
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.BranchStmt:
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			return
		}
	default:
		return
	}
	if !s.inBlock(n) || s.alone(n) || ignored.MatchString(s.textOf(n)) {
		return
	}
	if b, ok := n.(*ast.BranchStmt); ok && b.Tok == token.FALLTHROUGH {
		return
	}
	s.remove(s.add(n, "removed: "+s.textOf(n)), n)
}

// inBlock reports whether a statement stands in a list of statements.
func (s *source) inBlock(n ast.Stmt) bool {
	switch up := s.parents[n].(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		return true
	case *ast.CommClause:
		return up.Comm != n
	}
	return false
}

// alone reports whether a statement is all that an if without else does.
func (s *source) alone(n ast.Stmt) bool {
	block, ok := s.parents[n].(*ast.BlockStmt)
	if !ok || len(block.List) != 1 {
		return false
	}
	up, ok := s.parents[block].(*ast.IfStmt)
	return ok && up.Else == nil && !s.isBare(up.Cond)
}

func (s *source) generateReturn(n *ast.ReturnStmt) {
	if s.inBlock(n) && !s.ends(n) && !s.alone(n) && !s.inBareIf(n) {
		s.remove(s.add(n, "removed: "+s.textOf(n)), n)
	}
	types := s.resultTypes(n)
	if len(types) != len(n.Results) {
		return // return f()
	}
	for i, result := range n.Results {
		text := s.textOf(result)
		switch {
		case types[i] == "error" && text != "nil" && text != "err":
			s.zero(s.add(result, "nil: "+s.textOf(n)), result, "error")
		case types[i] == "bool":
			if _, logic := isLogic(result); !logic && !s.isComparison(result) {
				s.negate(s.add(result, "not: "+s.textOf(n)+" ("+text+")"), result)
			}
		}
	}
}

func (s *source) isComparison(n ast.Expr) bool {
	b, ok := n.(*ast.BinaryExpr)
	return ok && (b.Op == token.EQL || b.Op == token.NEQ)
}

// inBareIf reports whether a return is what is done about an error.
func (s *source) inBareIf(n ast.Stmt) bool {
	up, ok := s.parents[s.parents[n]].(*ast.IfStmt)
	return ok && s.isBare(up.Cond)
}

// resultTypes returns the source of the types that the function around a node returns.
func (s *source) resultTypes(n ast.Node) []string {
	var of *ast.FuncType
	for ; of == nil && n != nil; n = s.parents[n] {
		switch f := n.(type) {
		case *ast.FuncDecl:
			of = f.Type
		case *ast.FuncLit:
			of = f.Type
		}
	}
	var types []string
	if of == nil || of.Results == nil {
		return nil
	}
	for _, field := range of.Results.List {
		for range max(1, len(field.Names)) {
			types = append(types, strings.TrimSpace(s.textOf(field.Type)))
		}
	}
	return types
}

// isMask reports whether a sum is, or makes, a constant: its type would be lost.
func (s *source) isMask(n *ast.BinaryExpr) bool {
	switch x := n.X.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		if ast.IsExported(x.Name) {
			return true
		}
	case *ast.BinaryExpr:
		if x.Op == token.SHL {
			return true
		}
	}
	up := s.parents[n]
	if p, ok := up.(*ast.ParenExpr); ok {
		up = s.parents[p]
	}
	b, ok := up.(*ast.BinaryExpr)
	return ok && (b.Op == token.AND || b.Op == token.AND_NOT)
}
