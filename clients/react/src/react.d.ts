/* As much of React's types as the hooks need: so that nothing has to be installed to compile them. */
declare module "react" {
  export interface Context<T> {
    readonly Provider: unknown;
    readonly __value?: T;
  }
  export function createContext<T>(value: T): Context<T>;
  export interface ReactElement {
    readonly type: unknown;
  }
  export type ReactNode = unknown;
  export function createElement(type: unknown, props: object | null, ...children: unknown[]): ReactElement;
  export function useCallback<T>(callback: T, dependencies: readonly unknown[]): T;
  export function useContext<T>(context: Context<T>): T;
  export function useEffect(effect: () => void | (() => void), dependencies: readonly unknown[]): void;
  export function useRef<T>(value: T): { current: T };
  export function useState<T>(value: T): [T, (value: T) => void];
  export function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, get: () => T, getOnServer?: () => T): T;
}
