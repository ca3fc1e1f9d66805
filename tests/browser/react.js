// React as a module: what the hooks import.
export const { createContext, createElement, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } = window.React;
