package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// markText is a mark: what is done, if it is not obvious, and the tests.
var markText = regexp.MustCompile(`^// guard(?: \((.*)\))?: (.+)$`)

// marks finds the marked guards of a file.
func (s *source) marks() error {
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if !strings.HasPrefix(c.Text, "// guard") {
				continue
			}
			found := markText.FindStringSubmatch(c.Text)
			if found == nil {
				continue // a sentence
			}
			m, err := s.mark(c, found[1])
			if err != nil {
				return fmt.Errorf("%s:%d: %w", s.path, s.line(c.Pos()), err)
			}
			m.tests = strings.Split(found[2], ", ")
		}
	}
	return nil
}

// mark makes the mutant of one mark.
func (s *source) mark(c *ast.Comment, how string) (*mutant, error) {
	line := s.line(c.Pos())
	if s.aloneOnLine(c) {
		line++
	}
	if operand, of := s.operandAt(line); operand != nil && how == "" {
		m := s.add(operand, "without: "+s.textOf(operand))
		s.withoutOperand(m, of, operand)
		return m, nil
	}
	n := s.statementAt(line)
	if n == nil {
		return nil, fmt.Errorf("no statement or operand begins on line %d", line)
	}
	word, rest, _ := strings.Cut(how, " ")
	switch {
	case how == "":
		return s.markPlain(n)
	case how == "always":
		conds := conditions(n)
		if len(conds) != 1 {
			return nil, fmt.Errorf("there is no condition")
		}
		m := s.add(n, "always: "+s.textOf(conds[0]))
		s.always(m, conds[0])
		return m, nil
	case word == "without":
		return s.markWithout(n, rest)
	case word == "returns":
		m := s.add(n, how)
		s.wrap(m, n, "if mutantIs(%d) { return "+rest+" }; ", "")
		return m, nil
	}
	old, text, ok := strings.Cut(how, " -> ")
	if !ok {
		return nil, fmt.Errorf("(%s) is not understood", how)
	}
	return s.markReplaced(n, old, text)
}

// aloneOnLine reports whether nothing but white space stands before a comment.
func (s *source) aloneOnLine(c *ast.Comment) bool {
	from := s.offset(c.Pos())
	for from > 0 && s.text[from-1] != '\n' {
		from--
	}
	return strings.TrimSpace(string(s.text[from:s.offset(c.Pos())])) == ""
}

// statementAt returns the outermost statement that begins on a line.
func (s *source) statementAt(line int) ast.Stmt {
	var found ast.Stmt
	ast.Inspect(s.file, func(n ast.Node) bool {
		if n == nil || found != nil || s.line(n.End()) < line {
			return false
		}
		stmt, ok := n.(ast.Stmt)
		_, block := n.(*ast.BlockStmt)
		if ok && !block && s.line(n.Pos()) == line {
			found = stmt
		}
		return found == nil
	})
	return found
}

// operandAt returns the operand of && or || that begins on a line on which no statement
// begins, and the operator.
func (s *source) operandAt(line int) (operand ast.Expr, of token.Token) {
	if s.statementAt(line) != nil {
		return nil, of
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		b, ok := isLogic(n)
		if !ok || operand != nil {
			return operand == nil
		}
		if s.line(b.Y.Pos()) == line {
			operand, of = b.Y, b.Op
		}
		return true
	})
	return operand, of
}

// conditions returns what decides whether a statement, or a case, is executed.
func conditions(n ast.Stmt) []ast.Expr {
	switch n := n.(type) {
	case *ast.IfStmt:
		return []ast.Expr{n.Cond}
	case *ast.ForStmt:
		if n.Cond != nil {
			return []ast.Expr{n.Cond}
		}
	case *ast.CaseClause:
		return n.List
	}
	return nil
}

// markPlain makes the mutant of a mark that does not say what is done.
func (s *source) markPlain(n ast.Stmt) (*mutant, error) {
	if c, ok := n.(*ast.CaseClause); ok {
		if up, ok := s.parents[s.parents[c]].(*ast.SwitchStmt); !ok || up.Tag != nil {
			return nil, fmt.Errorf("a case of a value: mark the statement in it")
		}
	}
	if conds := conditions(n); len(conds) > 0 {
		m := s.add(n, "never: "+s.textOf(conds[0]))
		for _, cond := range conds {
			s.never(m, cond)
		}
		return m, nil
	}
	if a, ok := n.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
		return nil, fmt.Errorf("a := cannot be left out: say what stands in its place")
	}
	if r, ok := n.(*ast.ReturnStmt); ok && s.ends(r) {
		return nil, fmt.Errorf("the last return cannot be left out: say what it returns instead")
	}
	m := s.add(n, "removed: "+s.textOf(n))
	s.remove(m, n)
	return m, nil
}

// headers returns the parts of a statement in which operands are looked for: not its body.
func headers(n ast.Stmt) []ast.Node {
	if conds := conditions(n); conds != nil {
		parts := make([]ast.Node, 0, len(conds)+1)
		if i, ok := n.(*ast.IfStmt); ok && i.Init != nil {
			parts = append(parts, i.Init)
		}
		for _, c := range conds {
			parts = append(parts, c)
		}
		return parts
	}
	return []ast.Node{n}
}

// markWithout leaves out the operand that begins with a text, or "+ 1".
func (s *source) markWithout(n ast.Stmt, text string) (*mutant, error) {
	var m *mutant
	find := func(n ast.Node) bool {
		if m != nil {
			return false
		}
		b, ok := n.(*ast.BinaryExpr)
		if !ok {
			return true
		}
		if isPlusOne(b) && b.Op.String()+" 1" == text {
			m = s.add(b, "without: "+s.textOf(b))
			s.withoutOne(m, b)
			return false
		}
		if _, logic := isLogic(b); logic {
			for _, operand := range []ast.Expr{b.X, b.Y} {
				if inner, ok := isLogic(operand); ok && inner.Op == b.Op {
					continue
				}
				if m == nil && strings.HasPrefix(s.textOf(operand), text) {
					m = s.add(operand, "without: "+s.textOf(operand))
					s.withoutOperand(m, b.Op, operand)
				}
			}
		}
		return m == nil
	}
	for _, part := range headers(n) {
		ast.Inspect(part, find)
	}
	if m == nil {
		return nil, fmt.Errorf("no operand of && or || begins with %q", text)
	}
	return m, nil
}

// markReplaced puts a text in place of another one in a statement or condition.
func (s *source) markReplaced(n ast.Stmt, old, text string) (*mutant, error) {
	for _, cond := range conditions(n) {
		have := string(s.text[s.offset(cond.Pos()):s.offset(cond.End())])
		if strings.Contains(have, old) {
			m := s.add(n, old+" -> "+text)
			s.wrap(m, cond, "func() bool { if mutantIs(%d) { return "+oneLine(strings.Replace(have, old, text, 1))+" }; return (", ") }()")
			return m, nil
		}
	}
	have := string(s.text[s.offset(n.Pos()):s.offset(n.End())])
	if conditions(n) != nil || strings.Contains(have, "\n") || !strings.Contains(have, old) {
		return nil, fmt.Errorf("%q is not in the condition, or in a statement of one line", old)
	}
	with := strings.Replace(have, old, text, 1)
	m := s.add(n, old+" -> "+text)
	switch n := n.(type) {
	case *ast.ReturnStmt:
		s.wrap(m, n, "if mutantIs(%d) { "+with+" }; ", "")
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			s.wrap(m, n, "", "; if mutantIs(%d) { "+strings.Replace(with, ":=", "=", 1)+" }")
			break
		}
		s.wrap(m, n, "if mutantIs(%d) { "+with+" } else { ", " }")
	default:
		s.wrap(m, n, "if mutantIs(%d) { "+with+" } else { ", " }")
	}
	return m, nil
}

// oneLine keeps the lines of what follows where they are.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
