/**
 * A plugin for `deno lint` that finds what types and the running program cannot: a tensor in a condition, which is always
 * true, because it has no value until the traced function runs; and an operator on a tensor, before it runs. In
 * `deno.json`:
 *
 * ```json
 * { "lint": { "plugins": ["jsr:@localgrad/localgrad/lint"] } }
 * ```
 *
 * @module
 */

import { isTensor } from "./tensors.ts";

/** The method to call instead of each operator. */
const METHODS: { readonly [operator: string]: string } = {
  "+": "a.add(b)",
  "-": "a.sub(b)",
  "*": "a.mul(b)",
  "/": "a.div(b)",
  "%": "a.rem(b)",
  "**": "a.pow(b)",
  "<": "a.lt(b)",
  "<=": "a.le(b)",
  ">": "a.gt(b)",
  ">=": "a.ge(b)",
  "==": "a.eq(b)",
  "!=": "a.ne(b)",
  "&": "a.and(b)",
  "|": "a.or(b)",
  "^": "a.xor(b)",
  "<<": "a.shl(b)",
  ">>": "a.shr(b)",
  ">>>": "a.shr(b)",
};

/** Reports a tensor whose value would decide at tracing which code runs. */
const tensorCondition: Deno.lint.Rule = {
  create(context) {
    const check = (node: Deno.lint.Node | null): void => {
      if (node === null) return;
      if (node.type === "LogicalExpression") return check(node.right); // its left side is checked as one of its own
      if (!isTensor(node, context.sourceCode.getAncestors(node))) return;
      context.report({
        node,
        message: "A tensor in a condition is always true: it has no value until the traced function runs",
        hint:
          "Choose between two tensors by where(condition, a, b); test its shape and dtype, which are known",
      });
    };
    return {
      ConditionalExpression: ({ test }) => check(test),
      IfStatement: ({ test }) => check(test),
      WhileStatement: ({ test }) => check(test),
      DoWhileStatement: ({ test }) => check(test),
      ForStatement: ({ test }) => check(test),
      LogicalExpression({ left, operator }) {
        if (operator !== "??") check(left);
      },
      UnaryExpression({ operator, argument }) {
        if (operator === "!") check(argument);
      },
    };
  },
};

/** Reports an operator on a tensor, which throws when the function is traced. */
const tensorOperator: Deno.lint.Rule = {
  create(context) {
    const isOperand = (node: Deno.lint.Node) => isTensor(node, context.sourceCode.getAncestors(node));
    const report = (node: Deno.lint.Node, operator: string, method: string) =>
      context.report({
        node,
        message: `The operator ${operator} does not work on tensors`,
        hint: `Call ${method}`,
      });
    return {
      BinaryExpression(node) {
        const { left, operator, right } = node;
        const method = METHODS[operator];
        const isNull = [left, right].some((side) => side.type === "Literal" && side.value === null);
        if (method === undefined || isNull) return;
        if (isOperand(left) || isOperand(right)) report(node, operator, method);
      },
      AssignmentExpression(node) {
        const operator = node.operator.slice(0, -1);
        const method = METHODS[operator];
        if (method !== undefined && isOperand(node.left)) report(node, node.operator, `a = ${method}`);
      },
      UnaryExpression(node) {
        if (node.operator === "-" && isOperand(node.argument)) report(node, "-", "a.neg()");
        if (node.operator === "~" && isOperand(node.argument)) report(node, "~", "a.not()");
      },
    };
  },
};

/** The plugin, with the rules `localgrad/tensor-condition` and `localgrad/tensor-operator`. */
const plugin: Deno.lint.Plugin = {
  name: "localgrad",
  rules: { "tensor-condition": tensorCondition, "tensor-operator": tensorOperator },
};

export default plugin;
