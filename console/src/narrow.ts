import { useEffect, useState } from 'preact/hooks';

/** Whether the page is as narrow as on a phone. */
export function useNarrow(): boolean {
  const [isNarrow, setNarrow] = useState(narrow.matches);
  useEffect(() => {
    const follow = () => setNarrow(narrow.matches);
    narrow.addEventListener('change', follow);
    return () => narrow.removeEventListener('change', follow);
  }, []);
  return isNarrow;
}

const narrow = matchMedia('(max-width: 640px)');
