/**
 * Flags of the WebGPU specification, section by section. Types for them exist only in Deno's own library, and a project
 * may name the browser's instead, which has the interfaces without the values.
 */

/** §5.1.2, buffer usages. */
export const BufferUsage = { MAP_READ: 0x1, COPY_SRC: 0x4, COPY_DST: 0x8, STORAGE: 0x80 } as const;

/** §5.3, map modes. */
export const MapMode = { READ: 0x1 } as const;

/** §8.1, shader stages. */
export const ShaderStage = { COMPUTE: 0x4 } as const;
