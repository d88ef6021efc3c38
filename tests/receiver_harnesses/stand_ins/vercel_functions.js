// In place of @vercel/functions: holds what the platform would wait for.

export const held = [];

export const waitUntil = (promise) => void held.push(promise);
