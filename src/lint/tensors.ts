import * as functions from "../trace/functions.ts";
import { Tensor } from "../trace/tensor.ts";

/** Methods of a tensor, each of which gives a tensor. */
const METHODS = new Set(
  Object.entries(Object.getOwnPropertyDescriptors(Tensor.prototype))
    .filter(([name, { value }]) => typeof value === "function" && !["constructor", "toString"].includes(name))
    .map(([name]) => name),
);

/** Functions of the library that give a tensor. */
const FUNCTIONS = new Set(Object.keys(functions));

/** Functions whose first argument is called with tensors. */
const TRACING = new Set(["jit", "grad", "valueAndGrad", "vjp", "checkpoint", "stateless", "customGradient"]);

type Function =
  | Deno.lint.ArrowFunctionExpression
  | Deno.lint.FunctionExpression
  | Deno.lint.FunctionDeclaration;

/**
 * Tests whether an expression is a tensor, as far as the text of one file shows it: a parameter of type `Tensor`, or of a
 * function that is passed to `jit` and the like; a constant made of tensors; the result of a tensor's method, or of one
 * of the library's functions. Anything else counts as none.
 */
export function isTensor(node: Deno.lint.Node, ancestors: readonly Deno.lint.Node[]): boolean {
  switch (node.type) {
    case "Identifier":
      return isTensorNamed(node.name, ancestors);
    case "TSAsExpression":
    case "TSSatisfiesExpression":
      return isTensorType(node.typeAnnotation) || isTensor(node.expression, ancestors);
    case "TSNonNullExpression":
      return isTensor(node.expression, ancestors);
    case "CallExpression": {
      const { callee } = node;
      if (callee.type === "Identifier") return isLibraryFunction(callee.name, ancestors);
      return callee.type === "MemberExpression" && callee.property.type === "Identifier" &&
        METHODS.has(callee.property.name) && isTensor(callee.object, ancestors);
    }
    case "MemberExpression":
      return node.object.type === "Identifier" && node.property.type === "Identifier" && !node.computed &&
        isTensorType(memberType(typeNamed(node.object.name, ancestors), node.property.name));
    default:
      return false;
  }
}

/** Looks a name up in the functions and blocks around a place, from the innermost. */
function isTensorNamed(name: string, ancestors: readonly Deno.lint.Node[]): boolean {
  for (let i = ancestors.length - 1; i >= 0; i--) {
    const node = ancestors[i];
    if (node === undefined) continue;
    if (isFunction(node)) {
      for (const [position, param] of node.params.entries()) {
        const found = inPattern(param, name);
        if (found !== undefined) {
          return found.type === undefined
            ? found.isWhole && position < tensorsOf(node)
            : isTensorType(found.type);
        }
      }
    }
    if (node.type !== "BlockStatement" && node.type !== "Program") continue;
    for (const statement of node.body) {
      if (statement.type !== "VariableDeclaration") continue;
      for (const { id, init } of statement.declarations) {
        const found = inPattern(id, name);
        if (found === undefined) continue;
        if (found.type !== undefined) return isTensorType(found.type);
        return statement.kind === "const" && found.isWhole && init !== null &&
          isTensor(init, ancestors.slice(0, i + 1));
      }
    }
  }
  return false;
}

/** The annotated type of a name, if it has one. */
function typeNamed(name: string, ancestors: readonly Deno.lint.Node[]): Deno.lint.Node | undefined {
  for (const node of ancestors.toReversed()) {
    if (!isFunction(node)) continue;
    for (const param of node.params) {
      const found = inPattern(param, name);
      if (found !== undefined) return found.type;
    }
  }
  return undefined;
}

/** Finds a name in a parameter or declaration: its type, if annotated, and whether it is the whole of it. */
function inPattern(
  pattern: Deno.lint.Node | Deno.lint.Parameter,
  name: string,
): { readonly type: Deno.lint.Node | undefined; readonly isWhole: boolean } | undefined {
  if (pattern.type === "AssignmentPattern") return inPattern(pattern.left, name);
  if (pattern.type === "Identifier") {
    if (pattern.name !== name) return undefined;
    if (pattern.optional) return { type: undefined, isWhole: false }; // whether it was given may be tested
    return { type: pattern.typeAnnotation?.typeAnnotation, isWhole: true };
  }
  if (pattern.type !== "ObjectPattern") return undefined;
  for (const property of pattern.properties) {
    if (property.type !== "Property" || property.key.type !== "Identifier") continue;
    const found = inPattern(property.value, name);
    if (found === undefined) continue;
    const type = memberType(pattern.typeAnnotation?.typeAnnotation, property.key.name);
    return { type, isWhole: false };
  }
  return undefined;
}

/** The type of a property that is not optional, in a type literal. */
function memberType(type: Deno.lint.Node | undefined, name: string): Deno.lint.Node | undefined {
  if (type?.type !== "TSTypeLiteral") return undefined;
  for (const member of type.members) {
    if (member.type !== "TSPropertySignature" || member.optional) continue;
    if (member.key.type === "Identifier" && member.key.name === name) {
      return member.typeAnnotation?.typeAnnotation;
    }
  }
  return undefined;
}

function isTensorType(type: Deno.lint.Node | undefined): boolean {
  if (type?.type !== "TSTypeReference") return false;
  const { typeName } = type;
  const last = typeName.type === "TSQualifiedName" ? typeName.right : typeName;
  return last.type === "Identifier" && last.name === "Tensor";
}

/** The number of parameters of a function that are tensors because of the call that it is passed to. */
function tensorsOf(node: Function): number {
  const { parent } = node;
  if (parent.type !== "CallExpression" || parent.arguments[0] !== node) return 0;
  const { callee } = parent;
  const name = callee.type === "MemberExpression" ? callee.property : callee;
  if (name.type !== "Identifier" || !TRACING.has(name.name)) return 0;
  return name.name === "stateless" ? 1 : Infinity;
}

/** Tests for a function of the library that gives a tensor, by the import of its name. */
function isLibraryFunction(name: string, [program]: readonly Deno.lint.Node[]): boolean {
  if (program?.type !== "Program") return false;
  return program.body.some((statement) =>
    statement.type === "ImportDeclaration" && /localgrad|\bmod\.ts$/.test(statement.source.value) &&
    statement.specifiers.some((specifier) =>
      specifier.type === "ImportSpecifier" && specifier.local.name === name &&
      specifier.imported.type === "Identifier" && FUNCTIONS.has(specifier.imported.name)
    )
  );
}

function isFunction(node: Deno.lint.Node): node is Function {
  return node.type === "ArrowFunctionExpression" || node.type === "FunctionExpression" ||
    node.type === "FunctionDeclaration";
}
